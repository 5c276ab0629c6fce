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

{{- define "trainwatch.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 64Mi}
{{- if .Values.secret }}
- name: secret
  secret: {secretName: {{ .Values.secret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.keys }}
- name: keys-as-mounted
  secret: {secretName: {{ .Values.keys }}, defaultMode: 0440}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end }}

{{/* Keys for our account alone: a mounted Secret is readable by its group. */}}
{{- define "trainwatch.copyKeys" -}}
{{- if .Values.keys -}}
- name: keys
  {{- include "trainwatch.container" . | nindent 2 }}
  command: [/bin/sh, -c, "install -m 0600 /keys/* /etc/trainwatch/keys/"]
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  volumeMounts:
    - {name: keys-as-mounted, mountPath: /keys, readOnly: true}
    - {name: keys, mountPath: /etc/trainwatch/keys}
{{- end }}
{{- end }}
