{{- define "mesh.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "mesh.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- /* of (dict "root" $ "role" "worker" "group" "samples") */ -}}
{{- define "mesh.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- with .group }}
agentmesh/workers: {{ . }}
{{- end }}
{{- end }}

{{- define "mesh.account" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "mesh.name" .) .Values.serviceAccount.name }}{{ else }}{{ default "default" .Values.serviceAccount.name }}{{ end }}
{{- end }}

{{- define "mesh.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "mesh.natsURL" -}}
{{- if .Values.connection.url }}{{ .Values.connection.url }}{{ else if .Values.nats.enabled }}nats://{{ .Release.Name }}-nats:4222{{ else }}{{ fail "set connection.url to the URL of your NATS servers, or nats.enabled" }}{{ end }}
{{- end }}

{{- define "mesh.monitoring" -}}
{{- if .Values.keda.monitoringEndpoint }}{{ .Values.keda.monitoringEndpoint }}{{ else if .Values.nats.enabled }}{{ .Release.Name }}-nats-headless.{{ .Release.Namespace }}.svc:8222{{ else }}{{ fail "set keda.monitoringEndpoint to the monitoring port of your NATS servers" }}{{ end }}
{{- end }}

{{- /* The environment of a role: of (dict "root" $ "secret" name "env" map) */ -}}
{{- define "mesh.env" -}}
env:
  - {name: NATS_URL, value: {{ include "mesh.natsURL" .root | quote }}}
  - {name: MESH_REPLICAS, value: {{ .root.Values.replicas | quote }}}
  - {name: MESH_ADMIN, value: "0.0.0.0:9090"}
  - {name: MESH_INSECURE, value: "true"} # the admin port: the network policy says who reaches it
  - {name: MESH_LOG_FORMAT, value: json}
  {{- if .root.Values.connection.caSecret }}
  - {name: NATS_CA, value: /run/mesh/ca/ca.crt}
  {{- end }}
  {{- with .root.Values.telemetry.endpoint }}
  - {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
  {{- end }}
  {{- range $name, $value := .own }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
  {{- range $name, $value := .env }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- if or .secrets .envFrom }}
envFrom:
  {{- range .secrets }}
  - secretRef: {name: {{ . | quote }}}
  {{- end }}
  {{- with .envFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "mesh.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "mesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "mesh.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 2, failureThreshold: 30}
livenessProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
readinessProbe: {httpGet: {path: /readyz, port: admin}, periodSeconds: 5, timeoutSeconds: 5}
{{- end }}

{{- /* A Deployment: of (dict "root" $ "role" .. "group" .. "name" .. "of" values "own" env "secrets" list "image" .. "config" name "scaled" bool "endpoints" bool) */ -}}
{{- define "mesh.deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .name }}
  labels:
    {{- include "mesh.selector" . | nindent 4 }}
    {{- include "mesh.labels" .root | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .of.replicas }}
  {{- end }}
  selector:
    matchLabels:
      {{- include "mesh.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  template:
    metadata:
      labels:
        {{- include "mesh.selector" . | nindent 8 }}
      {{- if or .config .root.Values.podAnnotations }}
      annotations:
        {{- if .config }}
        agentmesh/agents-sum: {{ .of.agents | sha256sum }}
        {{- end }}
        {{- with .root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "mesh.account" .root }}
      automountServiceAccountToken: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      # The drain, a pause for load balancers before it, and 3 s in which the rest is handed back.
      terminationGracePeriodSeconds: {{ add .of.drainSeconds 15 }}
      securityContext:
        {{- include "mesh.podSecurity" . | nindent 8 }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels:
              {{- include "mesh.selector" . | nindent 14 }}
      containers:
        - name: {{ .role }}
          image: {{ default (include "mesh.image" .root) .image | quote }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          command: [/mesh]
          args: [{{ .role }}]
          {{- include "mesh.env" (dict "root" .root "own" .own "env" .of.env "envFrom" .of.envFrom "secrets" .secrets) | nindent 10 }}
          ports:
            {{- if .endpoints }}
            - {name: http, containerPort: 8080}
            {{- end }}
            - {name: admin, containerPort: 9090}
          {{- include "mesh.probes" . | nindent 10 }}
          {{- if .endpoints }}
          lifecycle: {preStop: {sleep: {seconds: 5}}}
          {{- end }}
          resources:
            {{- toYaml (default dict .of.resources) | nindent 12 }}
          securityContext:
            {{- include "mesh.security" . | nindent 12 }}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
            {{- if .config }}
            - {name: agents, mountPath: /etc/mesh, readOnly: true}
            {{- end }}
            {{- include "mesh.mounts" (dict "root" .root "creds" .creds) | nindent 12 }}
      volumes:
        - {name: tmp, emptyDir: {}}
        {{- if .config }}
        - {name: agents, configMap: {name: {{ .config }}}}
        {{- end }}
        {{- include "mesh.volumes" (dict "root" .root "creds" .creds) | nindent 8 }}
      {{- with .of.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .of.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .of.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}

{{- define "mesh.mounts" -}}
{{- if .root.Values.connection.caSecret }}
- {name: ca, mountPath: /run/mesh/ca, readOnly: true}
{{- end }}
{{- end }}

{{- define "mesh.volumes" -}}
{{- with .root.Values.connection.caSecret }}
- {name: ca, secret: {secretName: {{ . | quote }}, items: [{key: ca.crt, path: ca.crt}]}}
{{- end }}
{{- end }}
