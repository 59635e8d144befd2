{{/*
The certificates of certificates.mode selfSigned, made once per rendering and kept in .Values._certificates.

What the cluster has is kept while it is valid for more than renewBeforeDays, was made for the same names, and by the
present CA. So an upgrade changes nothing unless something is due. Without a cluster (helm template) all are new.
*/}}

{{/* Whether a Secret exists and is valid for long enough. (dict "secret" SECRET "days" N) gives "yes" or nothing. */}}
{{- define "traffic-footprint.keeps" -}}
{{- $until := dig "metadata" "annotations" "traffic-footprint.io/valid-until" "" .secret -}}
{{- if and $until (get (default (dict) (get .secret "data")) "tls.key") -}}
{{- $left := sub (toDate "2006-01-02T15:04:05Z" $until | unixEpoch | int64) (now | unixEpoch | int64) -}}
{{- if gt $left (mul .days 86400 | int64) -}}yes{{- end -}}
{{- end -}}
{{- end }}

{{/* Moment in so many days, as RFC 3339 in UTC. */}}
{{- define "traffic-footprint.inDays" -}}
{{- dateInZone "2006-01-02T15:04:05Z" (now | dateModify (printf "+%dh" (mul . 24))) "UTC" -}}
{{- end }}

{{- define "traffic-footprint.makeCertificates" -}}
{{- if not (hasKey .Values "_certificates") -}}
{{- $fullname := include "traffic-footprint.fullname" . -}}
{{- $own := .Values.certificates.selfSigned -}}
{{- $host := include "traffic-footprint.extenderHost" . -}}
{{- $names := concat (list $host (printf "%s.cluster.local" $host) (printf "%s-extender" $fullname)) .Values.certificates.extraNames -}}
{{- $addresses := concat (default (list) (compact (list .Values.extender.service.clusterIP))) .Values.certificates.extraAddresses -}}

{{- $ca := dict -}}
{{- $caSecret := default (dict) (lookup "v1" "Secret" .Release.Namespace (printf "%s-ca" $fullname)) -}}
{{- if include "traffic-footprint.keeps" (dict "secret" $caSecret "days" $own.renewBeforeDays) -}}
{{- $_ := set $ca "crt" (get $caSecret.data "tls.crt" | b64dec) -}}
{{- $_ := set $ca "key" (get $caSecret.data "tls.key" | b64dec) -}}
{{- $_ := set $ca "previous" (get $caSecret.data "previous.crt" | default "" | b64dec) -}}
{{- $_ := set $ca "until" (get $caSecret.metadata.annotations "traffic-footprint.io/valid-until") -}}
{{- else -}}
{{- $new := genCAWithKey (printf "%s-ca" $fullname) (int $own.caDays) (genPrivateKey "ecdsa") -}}
{{- $_ := set $ca "crt" $new.Cert -}}
{{- $_ := set $ca "key" $new.Key -}}
{{- /* While both roll over, who still shows a certificate of the old CA is let in. */ -}}
{{- $_ := set $ca "previous" (get (default (dict) (get $caSecret "data")) "tls.crt" | default "" | b64dec) -}}
{{- $_ := set $ca "until" (include "traffic-footprint.inDays" $own.caDays) -}}
{{- end -}}
{{- $authority := buildCustomCert (b64enc $ca.crt) (b64enc $ca.key) -}}
{{- $caDaysLeft := div (sub (toDate "2006-01-02T15:04:05Z" $ca.until | unixEpoch | int64) (now | unixEpoch | int64)) 86400 -}}
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

{{/* Changes with what kube-scheduler and extender trust, which kube-scheduler reads only at its start. */}}
{{- define "traffic-footprint.trust" -}}
{{- if eq .Values.certificates.mode "selfSigned" -}}
{{- include "traffic-footprint.makeCertificates" . -}}
{{- sha256sum .Values._certificates.ca.crt | trunc 16 -}}
{{- else -}}
{{ .Values.certificates.mode }}
{{- end -}}
{{- end }}
