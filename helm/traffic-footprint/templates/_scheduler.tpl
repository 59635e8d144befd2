{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{/* KubeSchedulerConfiguration of the chart's own kube-scheduler. */}}
{{- define "traffic-footprint.schedulerConfig" -}}
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  {{- toYaml .Values.scheduler.clientConnection | nindent 2 }}
leaderElection:
  leaderElect: true
  resourceNamespace: {{ .Release.Namespace }}
  resourceName: {{ include "traffic-footprint.fullname" . }}-scheduler
percentageOfNodesToScore: {{ .Values.scheduler.percentageOfNodesToScore }}
profiles:
  - schedulerName: {{ .Values.scheduler.schedulerName }}
    {{- with .Values.scheduler.profile }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
extenders:
  {{- include "traffic-footprint.schedulerExtender" (dict "root" . "tls" "/etc/traffic-footprint/tls" "url" (include "traffic-footprint.extenderUrl" .)) | nindent 2 }}
{{- end }}
