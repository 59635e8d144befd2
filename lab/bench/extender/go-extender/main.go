// SPDX-License-Identifier: Apache-2.0
// Command go-extender responds to kube-scheduler's two verbs without deciding anything. It does the least that a Go
// extender with the standard library does. It parses the body into the types of extender/v1 (of the pod only what a
// decision would read). Its responses are about as long as ours: filter rejects one node of so many with a reason
// (-reject-every), prioritize scores each node. `python -m lab.bench.extender.answers` compares the extender with it.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
)

type ownerReference struct {
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	Controller *bool  `json:"controller"`
}

type pod struct {
	Metadata struct {
		Name            string            `json:"name"`
		Namespace       string            `json:"namespace"`
		UID             string            `json:"uid"`
		Annotations     map[string]string `json:"annotations"`
		Labels          map[string]string `json:"labels"`
		OwnerReferences []ownerReference  `json:"ownerReferences"`
	} `json:"metadata"`
}

type extenderArgs struct {
	Pod       *pod
	NodeNames *[]string
}

type filterResult struct {
	NodeNames                  *[]string
	FailedAndUnresolvableNodes map[string]string
	Error                      string
}

type hostPriority struct {
	Host  string
	Score int64
}

const reason = "elephants use 90 percent of the link (3 pods, 9.1 Gbit/s of 10 Gbit/s)"

var rejectEvery = flag.Int("reject-every", 2, "rejects one of so many nodes")

func decode(w http.ResponseWriter, r *http.Request) *extenderArgs {
	var args extenderArgs
	if err := json.NewDecoder(r.Body).Decode(&args); err != nil || args.Pod == nil || args.NodeNames == nil {
		http.Error(w, "not an ExtenderArgs", http.StatusBadRequest)
		return nil
	}
	return &args
}

func respond(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

func filter(w http.ResponseWriter, r *http.Request) {
	args := decode(w, r)
	if args == nil {
		return
	}
	passed := make([]string, 0, len(*args.NodeNames))
	rejected := map[string]string{}
	for index, name := range *args.NodeNames {
		if index%*rejectEvery == 0 {
			rejected[name] = reason
		} else {
			passed = append(passed, name)
		}
	}
	respond(w, filterResult{NodeNames: &passed, FailedAndUnresolvableNodes: rejected})
}

func prioritize(w http.ResponseWriter, r *http.Request) {
	args := decode(w, r)
	if args == nil {
		return
	}
	scores := make([]hostPriority, 0, len(*args.NodeNames))
	for index, name := range *args.NodeNames {
		scores = append(scores, hostPriority{Host: name, Score: int64(index % 11)})
	}
	respond(w, scores)
}

func main() {
	flag.Parse()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port) // for the process that started this one
	mux := http.NewServeMux()
	mux.HandleFunc("POST /filter", filter)
	mux.HandleFunc("POST /prioritize", prioritize)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	fmt.Fprintln(os.Stderr, http.Serve(listener, mux))
	os.Exit(1)
}
