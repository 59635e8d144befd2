{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{/* Names. */}}
{{- define "traffic-footprint.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Prefix of all names. It is short enough for every suffix. */}}
{{- define "traffic-footprint.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "traffic-footprint.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
Labels of an object, one entry for each key. (dict "root" $ "component" "nodeagent" "more" LABELS)
No component: the object belongs to the release as a whole. `more` wins over commonLabels, and those over the chart's.
templates/validate.yaml refuses labels that would change the selectors.
*/}}
{{- define "traffic-footprint.labels" -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/managed-by" .root.Release.Service
  "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- merge (fromYaml (include "traffic-footprint.podLabels" .)) $own | toYaml -}}
{{- end }}

{{/* Labels of pods, given as above. Nothing that changes with the chart's version: a new label replaces pods. */}}
{{- define "traffic-footprint.podLabels" -}}
{{- $own := dict "app.kubernetes.io/part-of" "traffic-footprint" -}}
{{- $selector := fromYaml (include "traffic-footprint.selector" .) -}}
{{- merge (dict) $selector (default (dict) .more) (default (dict) .root.Values.commonLabels) $own | toYaml -}}
{{- end }}

{{/* Labels by which selectors find pods. They never change within a release. */}}
{{- define "traffic-footprint.selector" -}}
app.kubernetes.io/name: {{ include "traffic-footprint.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* Image reference. (dict "root" $ "image" .Values.X.image "registry" REGISTRY "tag" DEFAULT) */}}
{{- define "traffic-footprint.image" -}}
{{- $path := .image.repository -}}
{{- with .registry }}{{ $path = printf "%s/%s" (trimSuffix "/" .) $path }}{{ end -}}
{{- if .image.digest -}}
{{ printf "%s@%s" $path .image.digest }}
{{- else -}}
{{ printf "%s:%s" $path (default .tag .image.tag) }}
{{- end -}}
{{- end }}

{{- define "traffic-footprint.extenderImage" -}}
{{ include "traffic-footprint.image" (dict "image" .Values.extender.image "registry" .Values.image.registry "tag" .Chart.AppVersion) }}
{{- end }}

{{/*
kube-scheduler's version: the cluster's. What Kubernetes calls a pre-release (-alpha.1, -beta.0, -rc.1) is part of it.
What vendors append (-gke.100, -eks-113cf36, +k3s1) is not.
*/}}
{{- define "traffic-footprint.schedulerTag" -}}
{{- regexFind "^v[0-9]+\\.[0-9]+\\.[0-9]+(-(alpha|beta|rc)\\.[0-9]+)?" .Capabilities.KubeVersion.Version | required "the cluster's version is not known; set scheduler.image.tag, such as v1.37.2" -}}
{{- end }}

{{/* Settings as flags: writeInterval: 10 becomes --write-interval=10. It leaves out null, "" and switches (see below). */}}
{{- define "traffic-footprint.flags" -}}
{{- range $name, $value := . }}
{{- if not (or (kindIs "invalid" $value) (kindIs "bool" $value) (eq (toString $value) "")) }}
- {{ printf "--%s=%s" (kebabcase $name) (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Switches as variables, because some take no value as a flag: shadow: true becomes TRAFFIC_FOOTPRINT_SHADOW. */}}
{{- define "traffic-footprint.switches" -}}
{{- range $name, $value := . }}
{{- if kindIs "bool" $value }}
- name: TRAFFIC_FOOTPRINT_{{ snakecase $name | upper }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Names by which the extender can be reached within the cluster. */}}
{{- define "traffic-footprint.extenderHost" -}}
{{ include "traffic-footprint.fullname" . }}-extender.{{ .Release.Namespace }}.svc
{{- end }}

{{- define "traffic-footprint.extenderUrl" -}}
https://{{ include "traffic-footprint.extenderHost" . }}:{{ .Values.extender.settings.port }}
{{- end }}

{{/* The extender in a KubeSchedulerConfiguration. (dict "root" $ "tls" DIRECTORY "url" URL) */}}
{{- define "traffic-footprint.schedulerExtender" -}}
- urlPrefix: {{ .url }}
  filterVerb: filter
  prioritizeVerb: prioritize
  # 0-10 from the extender count as score x weight x 10 beside the plugins' 0-100 with their weights.
  weight: {{ .root.Values.scheduler.weight }}
  # Names instead of whole Node objects. Keep it true: kube-scheduler 1.33 and newer mishandles the other form.
  nodeCacheCapable: true
  # Fails open: without a response in time, pods are scheduled as if the extender were not there.
  ignorable: true
  httpTimeout: {{ .root.Values.scheduler.httpTimeout }}
  enableHTTPS: true
  tlsConfig:
    certFile: {{ .tls }}/tls.crt
    keyFile: {{ .tls }}/tls.key
    # Without it kube-scheduler would accept any certificate.
    caFile: {{ .tls }}/ca.crt
    # The name in the extender's certificate, by whatever address it is reached.
    serverName: {{ include "traffic-footprint.extenderHost" .root }}
{{- end }}

{{/* Names of the two Secrets. */}}
{{- define "traffic-footprint.serverSecret" -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{ .Values.certificates.existing.serverSecret | required "certificates.mode existing needs certificates.existing.serverSecret" }}
{{- else -}}
{{ include "traffic-footprint.fullname" . }}-extender-tls
{{- end -}}
{{- end }}

{{- define "traffic-footprint.clientSecret" -}}
{{- if eq .Values.certificates.mode "existing" -}}
{{ .Values.certificates.existing.clientSecret | required "certificates.mode existing needs certificates.existing.clientSecret" }}
{{- else -}}
{{ include "traffic-footprint.fullname" . }}-scheduler-tls
{{- end -}}
{{- end }}

{{/* Replicas of a component avoid each other's nodes, unless another affinity is given. (dict "root" "component" "affinity") */}}
{{- define "traffic-footprint.apart" -}}
{{- if .affinity -}}
{{ toYaml .affinity }}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "traffic-footprint.selector" . | nindent 12 }}
{{- end -}}
{{- end }}

{{/*
Nodes that can run a pod with a host path: those of Fargate and of virtual kubelets cannot, and a pod that tolerates
their taints would wait there for ever.
*/}}
{{- define "traffic-footprint.realNodes" -}}
nodeAffinity:
  requiredDuringSchedulingIgnoredDuringExecution:
    nodeSelectorTerms:
      - matchExpressions:
          - key: eks.amazonaws.com/compute-type
            operator: NotIn
            values: [fargate]
          - key: type
            operator: NotIn
            values: [virtual-kubelet]
{{- end }}

{{/* Security context of the containers that need nothing of the node. */}}
{{- define "traffic-footprint.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "traffic-footprint.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}
