package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"agentmesh/shared/schema"
	"agentmesh/shared/store"
)

// Agent is an agent with its compiled schema, or the memory of one that was
// removed.
type Agent struct {
	store.Definition
	removed   bool
	schemaErr error

	mu    sync.Mutex
	spare []*checker // compiled, and not in use
}

func NewAgent(d store.Definition) *Agent {
	def := &Agent{Definition: d}
	if len(d.InputSchema) > 0 {
		var c *checker
		if c, def.schemaErr = newChecker(d.InputSchema); c != nil {
			def.spare = append(def.spare, c)
		}
	}
	return def
}

// checkWithin is how long the check of one input may take.
const checkWithin = 2 * time.Second

// checker is a compiled schema that stops when its time is over. One checks one
// input at a time.
type checker struct {
	schema *jsonschema.Schema
	ctx    context.Context // of the present check
	steps  int
}

// errOver is the panic that ends a check; the library has no other way out.
var errOver = errors.New("the time of the check is over")

func newChecker(raw json.RawMessage) (*checker, error) {
	if faults := WildNumbers(raw); len(faults) > 0 {
		return nil, fmt.Errorf("%s: %s", faults[0].Pointer, faults[0].Detail)
	}
	compiled, err := schema.Compile(raw)
	if err != nil {
		return nil, err
	}
	c := &checker{schema: compiled}
	c.arm(reflect.ValueOf(compiled), map[any]bool{})
	return c, nil
}

// arm has each schema below v count a step before it branches. The format of a
// schema is the first thing that calls back.
func (c *checker) arm(v reflect.Value, seen map[any]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() || seen[v.Interface()] {
			return
		}
		seen[v.Interface()] = true
		if s, ok := v.Interface().(*jsonschema.Schema); ok {
			defer c.count(s)
		}
		c.arm(v.Elem(), seen)
	case reflect.Interface:
		if !v.IsNil() {
			c.arm(v.Elem(), seen)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				c.arm(v.Field(i), seen)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.arm(v.Index(i), seen)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			c.arm(v.MapIndex(key), seen)
		}
	}
}

func (c *checker) count(s *jsonschema.Schema) {
	format := jsonschema.Format{Validate: func(any) error { return nil }}
	if s.Format != nil {
		format = *s.Format
	}
	check := format.Validate
	format.Validate = func(v any) error {
		if c.steps++; c.steps%64 == 0 && c.ctx.Err() != nil {
			panic(errOver)
		}
		return check(v)
	}
	s.Format = &format
}

// check validates v until ctx is done, which is errOver.
func (c *checker) check(ctx context.Context, v any) (err error) {
	c.ctx = ctx
	defer func() {
		switch p := recover(); p {
		case nil:
		case errOver:
			err = errOver
		default:
			panic(p)
		}
	}()
	return c.schema.Validate(v)
}

// CheckInput validates an input, if there is one, against the agent's schema, for
// checkWithin and while ctx lasts.
func (d *Agent) CheckInput(ctx context.Context, input json.RawMessage) error {
	if input == nil {
		return nil
	}
	if d.schemaErr != nil {
		return Refuse(ErrInputInvalid, "The agent %s was registered with an input schema that does not compile; its operator must mend it.", d.Name)
	}
	if len(d.InputSchema) == 0 {
		return nil
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	if err != nil {
		return Refuse(ErrMalformedJSON, "The input is not JSON.")
	}
	c, err := d.checker()
	if err != nil {
		return err
	}
	defer d.putBack(c)
	within, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	err = c.check(within, v)
	if errors.Is(err, errOver) {
		if errors.Is(ctx.Err(), context.Canceled) {
			return fmt.Errorf("check input: %w", ctx.Err())
		}
		return Refuse(ErrInputTooComplex, "Checking it against the schema of agent %s took longer than %v. Send a smaller input, or have the agent's operator simplify the schema.", d.Name, checkWithin)
	}
	var broken *jsonschema.ValidationError
	if errors.As(err, &broken) {
		p := Refuse(ErrInputInvalid, "The input breaks the schema of agent %s; see GET /agents/%s.", d.Name, d.Name)
		p.Faults = schemaFaults(broken, nil)
		return p
	}
	return err
}

func (d *Agent) checker() (*checker, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.spare); n > 0 {
		c := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return c, nil
	}
	return newChecker(d.InputSchema)
}

// maxSpare bounds the compiled copies that are kept.
const maxSpare = 8

func (d *Agent) putBack(c *checker) {
	c.ctx = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.spare) < maxSpare {
		d.spare = append(d.spare, c)
	}
}

// schemaFaults lists the leaves of a validation error.
func schemaFaults(e *jsonschema.ValidationError, faults []Invalid) []Invalid {
	if len(e.Causes) == 0 && len(faults) < MaxFaults {
		pointer := "/input"
		for _, token := range e.InstanceLocation {
			pointer += "/" + Pointer(token)
		}
		detail := e.Error()
		if i := strings.LastIndex(detail, ": "); i >= 0 {
			detail = detail[i+2:]
		}
		return append(faults, Invalid{Detail: Clip(detail, MaxFaultDetail), Pointer: Clip(pointer, MaxPointer)})
	}
	for _, cause := range e.Causes {
		faults = schemaFaults(cause, faults)
	}
	return faults
}
