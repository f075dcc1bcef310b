package telemetry

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// newSpanExporter is the exporter that the environment asks for. OTLP has an
// encoder of its own in front of the clients of OpenTelemetry: theirs builds an
// object for each attribute first, and that was a third of what tracing costs
// (BenchmarkEncode).
func newSpanExporter(ctx context.Context) (sdktrace.SpanExporter, error) {
	if name := os.Getenv("OTEL_TRACES_EXPORTER"); name != "" && name != "otlp" {
		return autoexport.NewSpanExporter(ctx)
	}
	protocol := os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
	if protocol == "" {
		protocol = os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	var client otlptrace.Client
	switch protocol {
	case "grpc":
		client = otlptracegrpc.NewClient()
	case "", "http/protobuf":
		client = otlptracehttp.NewClient()
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL is %q, allowed are grpc and http/protobuf", protocol)
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	return Encoder{client}, nil
}

// Encoder sends spans through an OTLP client, as the fields of
// opentelemetry/proto/trace/v1 already encoded.
type Encoder struct{ Client otlptrace.Client }

// ExportSpans implements sdktrace.SpanExporter.
func (e Encoder) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	// One process has one resource. What a message does not know of its fields it
	// passes on as it is: so the client sends what is encoded here.
	all := &tracepb.ResourceSpans{}
	all.ProtoReflect().SetUnknown(encodeSpans(spans))
	return e.Client.UploadTraces(ctx, []*tracepb.ResourceSpans{all})
}

// Shutdown implements sdktrace.SpanExporter.
func (e Encoder) Shutdown(ctx context.Context) error { return e.Client.Stop(ctx) }

// encodeSpans writes the fields of a ResourceSpans: the spans of each scope under
// it.
func encodeSpans(spans []sdktrace.ReadOnlySpan) []byte {
	b := make(buffer, 0, 512*len(spans))
	b = b.nested(1, func(b buffer) buffer { return b.attributes(1, spans[0].Resource().Attributes()) })
	for done := 0; done < len(spans); {
		scope, first := spans[done].InstrumentationScope(), done
		for done < len(spans) && spans[done].InstrumentationScope() == scope {
			done++
		}
		b = b.nested(2, func(b buffer) buffer {
			b = b.scope(1, scope)
			for _, s := range spans[first:done] {
				b = b.span(2, s)
			}
			return b.text(3, scope.SchemaURL)
		})
	}
	return b.text(3, spans[0].Resource().SchemaURL())
}

// buffer is protobuf in the making.
type buffer []byte

// lengthBytes holds the length of a nested message: a varint may be longer than
// it need be, so it is written when the message is.
const lengthBytes = 4

func (b buffer) nested(field protowire.Number, f func(buffer) buffer) buffer {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = f(append(b, 0, 0, 0, 0))
	n := len(b) - at - lengthBytes
	for i := range lengthBytes - 1 {
		b[at+i] = byte(n>>(7*i)) | 0x80
	}
	b[at+lengthBytes-1] = byte(n >> (7 * (lengthBytes - 1)))
	return b
}

func (b buffer) text(field protowire.Number, s string) buffer {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
}

func (b buffer) id(field protowire.Number, id []byte) buffer {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), id)
}

func (b buffer) number(field protowire.Number, n int) buffer {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}

func (b buffer) time(field protowire.Number, t time.Time) buffer {
	b = protowire.AppendTag(b, field, protowire.Fixed64Type)
	return binary.LittleEndian.AppendUint64(b, uint64(max(t.UnixNano(), 0)))
}

// flags are those of a context, and whether it came from elsewhere.
func (b buffer) flags(field protowire.Number, sc, from trace.SpanContext) buffer {
	flags := uint32(sc.TraceFlags()) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if from.IsRemote() {
		flags |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	return binary.LittleEndian.AppendUint32(protowire.AppendTag(b, field, protowire.Fixed32Type), flags)
}

func (b buffer) scope(field protowire.Number, s instrumentation.Scope) buffer {
	return b.nested(field, func(b buffer) buffer {
		return b.text(1, s.Name).text(2, s.Version).attributes(3, s.Attributes.ToSlice())
	})
}

func (b buffer) span(field protowire.Number, s sdktrace.ReadOnlySpan) buffer {
	return b.nested(field, func(b buffer) buffer {
		sc, parent := s.SpanContext(), s.Parent()
		traceID, spanID := sc.TraceID(), sc.SpanID()
		b = b.id(1, traceID[:]).id(2, spanID[:]).text(3, sc.TraceState().String())
		if parent.SpanID().IsValid() {
			parentID := parent.SpanID()
			b = b.id(4, parentID[:])
		}
		b = b.text(5, s.Name()).number(6, int(s.SpanKind())).time(7, s.StartTime()).time(8, s.EndTime())
		b = b.attributes(9, s.Attributes()).number(10, s.DroppedAttributes())
		for _, e := range s.Events() {
			b = b.nested(11, func(b buffer) buffer {
				return b.time(1, e.Time).text(2, e.Name).attributes(3, e.Attributes).number(4, e.DroppedAttributeCount)
			})
		}
		b = b.number(12, s.DroppedEvents())
		for _, l := range s.Links() {
			b = b.nested(13, func(b buffer) buffer {
				traceID, spanID := l.SpanContext.TraceID(), l.SpanContext.SpanID()
				b = b.id(1, traceID[:]).id(2, spanID[:])
				return b.attributes(4, l.Attributes).number(5, l.DroppedAttributeCount).flags(6, l.SpanContext, l.SpanContext)
			})
		}
		b = b.number(14, s.DroppedLinks())
		b = b.nested(15, func(b buffer) buffer {
			return b.text(2, s.Status().Description).number(3, int(statusCode(s.Status().Code)))
		})
		return b.flags(16, sc, parent)
	})
}

func statusCode(c codes.Code) tracepb.Status_StatusCode {
	switch c {
	case codes.Ok:
		return tracepb.Status_STATUS_CODE_OK
	case codes.Error:
		return tracepb.Status_STATUS_CODE_ERROR
	}
	return tracepb.Status_STATUS_CODE_UNSET
}

func (b buffer) attributes(field protowire.Number, attrs []attribute.KeyValue) buffer {
	for _, kv := range attrs {
		b = b.nested(field, func(b buffer) buffer {
			return b.text(1, string(kv.Key)).nested(2, func(b buffer) buffer { return b.value(kv.Value) })
		})
	}
	return b
}

// value writes a value. The mesh itself has no lists; those of others, in the
// environment's resource attributes, are texts.
func (b buffer) value(v attribute.Value) buffer {
	switch v.Type() {
	case attribute.BOOL:
		n := uint64(0)
		if v.AsBool() {
			n = 1
		}
		return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.VarintType), n)
	case attribute.INT64:
		return protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return binary.LittleEndian.AppendUint64(protowire.AppendTag(b, 4, protowire.Fixed64Type), math.Float64bits(v.AsFloat64()))
	}
	text := v.AsString()
	if v.Type() != attribute.STRING {
		text = v.String()
	}
	return protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), text)
}
