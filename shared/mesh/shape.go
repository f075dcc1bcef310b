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
)

// Shape is what values must look like: a schema, with compiled copies of it.
type Shape struct {
	raw json.RawMessage
	err error // it does not compile

	mu    sync.Mutex
	spare []*checker // compiled, and not in use
}

// NewShape compiles a schema. Of none, every value is right; one that does not compile
// takes none.
func NewShape(raw json.RawMessage) *Shape {
	s := &Shape{raw: raw}
	if len(raw) > 0 {
		var c *checker
		if c, s.err = newChecker(raw); c != nil {
			s.spare = append(s.spare, c)
		}
	}
	return s
}

// Fits says where a JSON value breaks the schema, nil when nowhere.
func (s *Shape) Fits(ctx context.Context, value json.RawMessage) error {
	if len(s.raw) == 0 {
		return nil
	}
	if s.err != nil {
		return fmt.Errorf("the schema does not compile: %w", s.err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	err = s.check(ctx, v)
	var broken *jsonschema.ValidationError
	if !errors.As(err, &broken) {
		return err
	}
	var said []string
	for _, f := range schemaFaults(broken, "", nil) {
		said = append(said, strings.TrimSpace(f.Pointer+" "+f.Detail))
	}
	return errors.New(strings.Join(said, "; "))
}

// check validates a value for checkWithin and while ctx lasts. errOver: it took longer.
func (s *Shape) check(ctx context.Context, v any) error {
	c, err := s.checker()
	if err != nil {
		return err
	}
	defer s.putBack(c)
	within, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	err = c.check(within, v)
	if errors.Is(err, errOver) && errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("check input: %w", ctx.Err())
	}
	return err
}

func (s *Shape) checker() (*checker, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.spare); n > 0 {
		c := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return c, nil
	}
	return newChecker(s.raw)
}

// maxSpare bounds the compiled copies that are kept.
const maxSpare = 8

func (s *Shape) putBack(c *checker) {
	c.ctx = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.spare) < maxSpare {
		s.spare = append(s.spare, c)
	}
}

// checkWithin is how long the check of one value may take.
const checkWithin = 2 * time.Second

// checker is a compiled schema that stops when its time is over. One checks one
// value at a time.
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

// schemaFaults lists the leaves of a validation error of the value at root.
func schemaFaults(e *jsonschema.ValidationError, root string, faults []Invalid) []Invalid {
	if len(e.Causes) == 0 && len(faults) < MaxFaults {
		pointer := root
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
		faults = schemaFaults(cause, root, faults)
	}
	return faults
}
