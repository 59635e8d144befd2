{{- /* SPDX-License-Identifier: Apache-2.0 */ -}}
{{/*
The certificates of certificates.mode selfSigned, made once per rendering and kept in .Values._certificates.

An upgrade keeps a certificate that the cluster has if three things hold: it is valid for more than renewBeforeDays, it was
made for the same names, and the present CA signed it. So an upgrade changes nothing unless something is due. Without a
cluster (helm template) all are new.

Two upgrades replace a CA, because the two sides do not learn of it at the same moment: kubelets bring files up to date within
minutes, and kube-scheduler reads its CA when it starts. The first upgrade makes the next CA and lets both sides trust it.
The second issues from it. The first is due twice renewBeforeDays before the end. So both come in time where upgrades are at
most renewBeforeDays apart.
*/}}

{{/* Seconds from now until a moment; negative when it is over. */}}
{{- define "traffic-footprint.secondsUntil" -}}
{{- sub (toDate "2006-01-02T15:04:05Z" . | unixEpoch | int64) (now | unixEpoch | int64) -}}
{{- end }}

{{/* "yes" if a Secret exists and is valid for so many days more, else nothing. (dict "secret" SECRET "days" N) */}}
{{- define "traffic-footprint.keeps" -}}
{{- $until := dig "metadata" "annotations" "traffic-footprint.io/valid-until" "" .secret -}}
{{- if and $until (get (default (dict) (get .secret "data")) "tls.key") -}}
{{- if gt (include "traffic-footprint.secondsUntil" $until | int64) (mul .days 86400 | int64) -}}yes{{- end -}}
{{- end -}}
{{- end }}

{{/* Moment in so many days, as RFC 3339 in UTC. */}}
{{- define "traffic-footprint.inDays" -}}
{{- dateInZone "2006-01-02T15:04:05Z" (now | dateModify (printf "+%dh" (mul . 24))) "UTC" -}}
{{- end }}

{{/*
The CA to issue from, as YAML: crt, key, until; next, of the same form and with its moment of being made (since), while both
sides learn to trust it; previous, the certificate of the one before. (dict "own" VALUES "name" COMMON-NAME "secret" SECRET)
*/}}
{{- define "traffic-footprint.authority" -}}
{{- $said := dig "metadata" "annotations" (dict) .secret -}}
{{- $data := default (dict) (get .secret "data") -}}
{{- $ca := dict -}}
{{- if include "traffic-footprint.keeps" (dict "secret" .secret "days" 1) -}}
{{- $ca = dict "crt" (get $data "tls.crt" | b64dec) "key" (get $data "tls.key" | b64dec) "until" (get $said "traffic-footprint.io/valid-until") "previous" (get $data "previous.crt" | default "" | b64dec) -}}
{{- if get $data "next.key" -}}
{{- $next := dict "crt" (get $data "next.crt" | b64dec) "key" (get $data "next.key" | b64dec) "until" (get $said "traffic-footprint.io/next-valid-until") "since" (get $said "traffic-footprint.io/next-since") -}}
{{- if lt (include "traffic-footprint.secondsUntil" $next.since | int64) -3600 -}}
{{- $ca = dict "crt" $next.crt "key" $next.key "until" $next.until "previous" $ca.crt -}}
{{- else -}}
{{- $_ := set $ca "next" $next -}}
{{- end -}}
{{- else if not (include "traffic-footprint.keeps" (dict "secret" .secret "days" (mul 2 .own.renewBeforeDays))) -}}
{{- $new := genCAWithKey .name (int .own.caDays) (genPrivateKey "ecdsa") -}}
{{- $_ := set $ca "next" (dict "crt" $new.Cert "key" $new.Key "until" (include "traffic-footprint.inDays" .own.caDays) "since" (include "traffic-footprint.inDays" 0)) -}}
{{- end -}}
{{- else -}}
{{- /* There is no CA, or it has ended. Nobody can trust what it signed: one step replaces it. */ -}}
{{- $new := genCAWithKey .name (int .own.caDays) (genPrivateKey "ecdsa") -}}
{{- $ca = dict "crt" $new.Cert "key" $new.Key "until" (include "traffic-footprint.inDays" .own.caDays) "previous" "" -}}
{{- end -}}
{{- $trusted := list $ca.crt -}}
{{- with $ca.next }}{{ $trusted = append $trusted .crt }}{{ else }}{{ with $ca.previous }}{{ $trusted = append $trusted . }}{{ end }}{{ end -}}
{{- toYaml (set $ca "trusted" $trusted) -}}
{{- end }}

{{- define "traffic-footprint.makeCertificates" -}}
{{- if not (hasKey .Values "_certificates") -}}
{{- $fullname := include "traffic-footprint.fullname" . -}}
{{- $own := .Values.certificates.selfSigned -}}
{{- $host := include "traffic-footprint.extenderHost" . -}}
{{- $names := concat (list $host (printf "%s.cluster.local" $host) (printf "%s-extender" $fullname)) .Values.certificates.extraNames -}}
{{- $addresses := concat (default (list) (compact (list .Values.extender.service.clusterIP))) .Values.certificates.extraAddresses -}}

{{- $ca := include "traffic-footprint.authority" (dict "own" $own "name" (printf "%s-ca" $fullname) "secret" (default (dict) (lookup "v1" "Secret" .Release.Namespace (printf "%s-ca" $fullname)))) | fromYaml -}}
{{- $authority := buildCustomCert (b64enc $ca.crt) (b64enc $ca.key) -}}
{{- $caDaysLeft := div (include "traffic-footprint.secondsUntil" $ca.until | int64) 86400 -}}
{{- $days := min (int $own.days) $caDaysLeft -}}

{{- $made := dict "ca" $ca -}}
{{- range $name, $subject := dict "extender" $host "scheduler" (printf "%s-scheduler" $fullname) -}}
{{- $for := sha256sum (printf "%s %s %s %s" $ca.crt $subject (join "," $names) (join "," $addresses)) | trunc 32 -}}
{{- $secret := default (dict) (lookup "v1" "Secret" $.Release.Namespace (printf "%s-%s-tls" $fullname $name)) -}}
{{- $one := dict "for" $for -}}
{{- $same := eq (dig "metadata" "annotations" "traffic-footprint.io/made-for" "" $secret) $for -}}
{{- if and $same (include "traffic-footprint.keeps" (dict "secret" $secret "days" $own.renewBeforeDays)) -}}
{{- $_ := set $one "crt" (get $secret.data "tls.crt" | b64dec) -}}
{{- $_ := set $one "key" (get $secret.data "tls.key" | b64dec) -}}
{{- $_ := set $one "until" (get $secret.metadata.annotations "traffic-footprint.io/valid-until") -}}
{{- else -}}
{{- $signed := dict -}}
{{- if eq $name "extender" -}}
{{- $signed = genSignedCertWithKey $subject $addresses $names (int $days) $authority (genPrivateKey "ecdsa") -}}
{{- else -}}
{{- $signed = genSignedCertWithKey $subject (list) (list $subject) (int $days) $authority (genPrivateKey "ecdsa") -}}
{{- end -}}
{{- $_ := set $one "crt" $signed.Cert -}}
{{- $_ := set $one "key" $signed.Key -}}
{{- $_ := set $one "until" (include "traffic-footprint.inDays" $days) -}}
{{- end -}}
{{- $_ := set $made $name $one -}}
{{- end -}}
{{- $_ := set .Values "_certificates" $made -}}
{{- end -}}
{{- end }}

{{/* Changes with the CAs that kube-scheduler trusts, in whichever order: it reads them only at its start. */}}
{{- define "traffic-footprint.trust" -}}
{{- if eq .Values.certificates.mode "selfSigned" -}}
{{- include "traffic-footprint.makeCertificates" . -}}
{{- .Values._certificates.ca.trusted | sortAlpha | join "" | sha256sum | trunc 16 -}}
{{- else -}}
{{ .Values.certificates.mode }}
{{- end -}}
{{- end }}
