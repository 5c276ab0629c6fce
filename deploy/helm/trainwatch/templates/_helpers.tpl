{{- define "trainwatch.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "trainwatch.selector" -}}
app.kubernetes.io/name: trainwatch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "trainwatch.labels" -}}
{{ include "trainwatch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "trainwatch.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "trainwatch.settings" -}}
trainwatch.yaml: |
  {{- toYaml .Values.settings | nindent 2 }}
{{- end }}

{{/* Values of one of our jobs, whose settings and secret come before those of the release: (list . .Values.migrate). */}}
{{- define "trainwatch.overlaid" -}}
{{- $own := index . 1 }}
{{- $values := deepCopy (index . 0).Values }}
{{- $_ := set $values "settings" (mustMergeOverwrite $values.settings (deepCopy $own.settings)) }}
{{- $_ := set $values "secret" ($own.secret | default $values.secret) }}
{{- toYaml (dict "Values" (pick $values "settings" "secret" "keys")) }}
{{- end }}

{{/* A port that the policy shuts would be a time-out that names nobody: (list "kafka" PORTS ADDRESSES). */}}
{{- define "trainwatch.reached" -}}
{{- $ports := list }}
{{- range index . 1 }}
{{- $ports = append $ports (toString .) }}
{{- end }}
{{- $part := index . 0 }}
{{- range index . 2 }}
{{- $port := trim . | regexFind ":[0-9]+$" | trimPrefix ":" }}
{{- if not $port }}
{{- fail (printf "settings.%s: %q names no port; write host:port" $part (trim .)) }}
{{- end }}
{{- if not (has $port $ports) }}
{{- fail (printf "networkPolicy.%s.ports lacks %s, which settings.%s names" $part $port $part) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What all pods have: no token, no root, and no service links, since trainwatch refuses variables TRAINWATCH_* that it does not know. */}}
{{- define "trainwatch.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "trainwatch.container" -}}
image: {{ include "trainwatch.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "trainwatch.mounts" -}}
- {name: settings, mountPath: /etc/trainwatch/trainwatch.yaml, subPath: trainwatch.yaml, readOnly: true}
- {name: tmp, mountPath: /tmp}
{{- if .Values.secret }}
- {name: secret, mountPath: /etc/trainwatch/secret, readOnly: true}
{{- end }}
{{- if .Values.keys }}
- {name: keys, mountPath: /etc/trainwatch/keys, readOnly: true}
{{- end }}
{{- end }}

{{/* Secrets belong to root, and our group reads them: keys too, which we refuse where others may read or change them. */}}
{{- define "trainwatch.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- if .Values.secret }}
- name: secret
  secret: {secretName: {{ .Values.secret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.keys }}
- name: keys
  secret: {secretName: {{ .Values.keys }}, defaultMode: 0440}
{{- end }}
{{- end }}
