{{- define "sidetrace.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "sidetrace.account" -}}
{{- default (include "sidetrace.name" .) .Values.serviceAccount.name }}
{{- end }}

{{- define "sidetrace.selector" -}}
app.kubernetes.io/name: sidetrace
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidetrace.labels" -}}
{{ include "sidetrace.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "sidetrace.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- /* The daemon's configuration; what "daemon.config" says stands over it. */}}
{{- define "sidetrace.config" -}}
{{- $listen := list "unix:/run/sidetrace/daemon.sock" "127.0.0.1:4280" }}
{{- $stream := dict }}
{{- if .Values.daemon.network }}
{{- $listen = list "unix:/run/sidetrace/daemon.sock" ":4280" }}
{{- $tls := dict "cert" "/tls/tls.crt" "key" "/tls/tls.key" }}
{{- with .Values.daemon.clientCaSecret }}{{ $_ := set $tls "clientCa" "/client-ca/ca.crt" }}{{ end }}
{{- $auth := dict }}
{{- with .Values.daemon.tokensSecret }}{{ $_ := set $auth "tokens" "/tokens/tokens" }}{{ end }}
{{- with .Values.daemon.audience }}{{ $_ := set $auth "kubernetes" (dict "audience" .) }}{{ end }}
{{- $_ := set $stream "tls" $tls }}
{{- $_ := set $stream "auth" $auth }}
{{- end }}
{{- $_ := set $stream "listen" $listen }}
{{- $config := dict
  "probe" (dict "socket" "/run/sidetrace/probe.sock" "ringBudget" (printf "%dMiB" (int .Values.probe.ringBudgetMiB)))
  "stream" $stream
  "health" (dict "listen" ":4281")
  "kubernetes" (dict "source" "in-cluster") }}
{{- with .Values.probe.tunnelPorts }}{{ $_ := set $config "envoy" (dict "ports" (concat (list 15000) .)) }}{{ end }}
{{- mustMergeOverwrite $config (deepCopy .Values.daemon.config) | toYaml }}
{{- end }}
