package telemetry

import (
	"go.opentelemetry.io/otel/attribute"
)

// Names of spans and attributes, in this one place: the messaging and GenAI
// conventions are still in development (semantic conventions v1.43.0).
const (
	scope = "agentmesh"

	keyTaskID   = attribute.Key("mesh.task.id")
	keyTenant   = attribute.Key("mesh.tenant")
	keyAgent    = attribute.Key("mesh.agent")
	keyAttempt  = attribute.Key("mesh.attempt")
	keyWorkerID = attribute.Key("mesh.worker.id")

	keyMessagingSystem    = attribute.Key("messaging.system")
	keyMessagingOperation = attribute.Key("messaging.operation.name")
	keyMessagingType      = attribute.Key("messaging.operation.type")
	keyMessagingTemplate  = attribute.Key("messaging.destination.template")
	keyGenAIOperation     = attribute.Key("gen_ai.operation.name")
	keyGenAIAgent         = attribute.Key("gen_ai.agent.name")
	keyHTTPMethod         = attribute.Key("http.request.method")
	keyHTTPRoute          = attribute.Key("http.route")
	keyHTTPStatus         = attribute.Key("http.response.status_code")
	keyURLPath            = attribute.Key("url.path")
	keyURLScheme          = attribute.Key("url.scheme")
	keyErrorType          = attribute.Key("error.type")

	systemNATS = "nats"
)

// TaskID is the attribute of a task's id.
func TaskID(id string) attribute.KeyValue { return keyTaskID.String(id) }

// Tenant is the attribute of a tenant.
func Tenant(t string) attribute.KeyValue { return keyTenant.String(t) }

// Agent is the attribute of an agent's name.
func Agent(name string) attribute.KeyValue { return keyAgent.String(name) }

// Attempt is the attribute of an attempt's number, from 1.
func Attempt(n int) attribute.KeyValue { return keyAttempt.Int(n) }

// WorkerID is the attribute of a worker's id.
func WorkerID(id string) attribute.KeyValue { return keyWorkerID.String(id) }
