#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# certificates.sh DIRECTORY [NAMESPACE]: the files that the kustomize overlays need, made with openssl: a CA, the
# extender's certificate, kube-scheduler's certificate. DIRECTORY must not exist; DAYS (730) is how long both are valid.
# What becomes Secrets is in DIRECTORY/extender and DIRECTORY/scheduler; ca.key is only needed for new ones: keep it safe.
set -eu
directory=${1:?usage: certificates.sh DIRECTORY [NAMESPACE]}
host=traffic-footprint-extender.${2:-traffic-footprint}.svc
days=${DAYS:-730}
umask 077
mkdir "$directory" "$directory/extender" "$directory/scheduler"
cd "$directory"
printf '[req]\ndistinguished_name = dn\n[dn]\n' >openssl.cnf

certificate() { # certificate FOLDER SUBJECT, then further arguments of openssl req
    folder=$1 subject=$2
    shift 2
    openssl req -x509 -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
        -subj "/CN=$subject" -keyout "$folder/tls.key" -out "$folder/tls.crt" "$@" 2>openssl.log || {
        echo "error: openssl failed; 3.0 or newer is needed:" >&2
        cat openssl.log >&2
        exit 2
    }
}

signed() { # the same, signed by the CA
    certificate "$@" -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE \
        -addext keyUsage=critical,digitalSignature
    cp ca.crt "$1/ca.crt"
}

certificate . traffic-footprint-ca -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
mv tls.crt ca.crt
mv tls.key ca.key
signed extender traffic-footprint-extender -addext extendedKeyUsage=serverAuth \
    -addext "subjectAltName=DNS:$host,DNS:$host.cluster.local"
signed scheduler traffic-footprint-scheduler -addext extendedKeyUsage=clientAuth
rm openssl.cnf openssl.log
