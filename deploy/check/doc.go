// Package check validates what deploy ships, by the tools' own Go libraries: compose.yaml
// by the compose specification's, the chart by Helm's and kubeconform's, alerts and
// dashboards by Prometheus's parser, the Dockerfile by BuildKit's front end, which plans the
// image and builds nothing. It is a module of its own, so that none of them
// comes near the mesh: make deploy-check, make helm-test.
package check
