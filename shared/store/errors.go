package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/task"
)

// Error codes of the server that the client library does not name.
const (
	codeAccountResources      jetstream.ErrorCode = 10002
	codeInsufficientResources jetstream.ErrorCode = 10023 // the server's max_file_store
	codeNoPeers               jetstream.ErrorCode = 10005 // too few nodes for the replicas, for now
	codeConsumers             jetstream.ErrorCode = 10026 // as many read a stream as may, for now
	codeNoCluster             jetstream.ErrorCode = 10074 // several replicas on a server that is alone
	codeStorageResources      jetstream.ErrorCode = 10047
	codeStoreFailed           jetstream.ErrorCode = 10077
	codeDuplicateInFlight     jetstream.ErrorCode = 10158
	codeWriteInFlight                             = jetstream.JSErrCodeStreamWrongLastSequenceConstant // 10164
)

// classify turns what the client library returns into the errors of package task:
// ErrConflict, ErrFull, ErrUnavailable. Two kinds stay as they are: that
// something is not there, which each caller knows by its own name, and a request
// that no repeat would make better.
func classify(err error) error {
	if err == nil || errors.Is(err, task.ErrUnavailable) || errors.Is(err, task.ErrFull) || errors.Is(err, task.ErrConflict) {
		return err
	}
	if errors.Is(err, errReaderGone) || errors.Is(err, errWatchEnded) {
		return fmt.Errorf("%w (%w)", task.ErrUnavailable, err)
	}
	for _, absent := range []error{jetstream.ErrMsgNotFound, jetstream.ErrKeyNotFound, jetstream.ErrObjectNotFound} {
		if errors.Is(err, absent) {
			return err
		}
	}
	if api := answerOf(err); api != nil {
		if sentinel := sentinelOf(api); sentinel != nil {
			return fmt.Errorf("%w (%w)", sentinel, err)
		}
		return err
	}
	for _, away := range unreached {
		if errors.Is(err, away) {
			return fmt.Errorf("%w (%w)", task.ErrUnavailable, err)
		}
	}
	return err
}

// answerOf is the server's answer that an error is, nil: it is none. A watch of a
// bucket is made by the library of before, whose errors are of another type.
func answerOf(err error) *jetstream.APIError {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api
	}
	var old *nats.APIError
	var named nats.JetStreamError
	if !errors.As(err, &old) && errors.As(err, &named) {
		old = named.APIError()
	}
	if old == nil {
		return nil
	}
	return &jetstream.APIError{Code: old.Code, ErrorCode: jetstream.ErrorCode(old.ErrorCode), Description: old.Description}
}

// sentinelOf is what an answer of the server means; nil: the request was wrong.
func sentinelOf(api *jetstream.APIError) error {
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamWrongLastSequence:
		return task.ErrConflict
	case codeInsufficientResources, codeAccountResources, codeStorageResources:
		return task.ErrFull
	case codeWriteInFlight, codeDuplicateInFlight, codeNoPeers, codeConsumers:
		return task.ErrUnavailable
	case codeStoreFailed:
		if strings.HasPrefix(api.Description, "maximum ") {
			return task.ErrFull
		}
		return task.ErrUnavailable
	case codeNoCluster, jetstream.JSErrCodeDuplicateFilterSubjects, jetstream.JSErrCodeOverlappingFilterSubjects:
		return nil
	}
	// A stream or a consumer that is not found (404) may have no leader yet; a
	// request too many (429) is taken later; 408 and 5xx are the server's trouble.
	if api.Code == 404 || api.Code == 408 || api.Code == 409 || api.Code == 429 || api.Code >= 500 {
		return task.ErrUnavailable
	}
	return nil
}

// unreached are the errors of the client library that say that a request did not
// reach the store, or its answer did not come back. They are no fault of the
// request: it may succeed later.
var unreached = []error{
	context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF,
	nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrInvalidConnection,
	nats.ErrReconnectBufExceeded, nats.ErrConnectionReconnecting, nats.ErrConnectionDraining, nats.ErrStaleConnection,
	nats.ErrNoServers, nats.ErrSlowConsumer, nats.ErrBadSubscription, nats.ErrMaxConnectionsExceeded,
	nats.ErrMaxAccountConnectionsExceeded, nats.ErrMaxSubscriptionsExceeded, nats.ErrJetStreamNotEnabled,
	jetstream.ErrNoStreamResponse, jetstream.ErrInvalidJSAck, jetstream.ErrInvalidJetStreamResponse,
	jetstream.ErrConsumerCreationResponseEmpty, jetstream.ErrConsumerDeleted, jetstream.ErrConsumerLeadershipChanged,
	jetstream.ErrNoHeartbeat, jetstream.ErrServerShutdown, jetstream.ErrConnectionClosed, jetstream.ErrMsgIteratorClosed,
	jetstream.ErrOrderedConsumerReset, jetstream.ErrOrderedConsumerNotCreated, jetstream.ErrTooManyStalledMsgs,
	jetstream.ErrAsyncPublishTimeout, jetstream.ErrJetStreamPublisherClosed, jetstream.ErrBucketNotFound, jetstream.ErrMsgDeleteUnsuccessful,
}
