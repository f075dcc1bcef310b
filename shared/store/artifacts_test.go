package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/natstest"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

func TestAReaderOfAnArtifactHoldsOnePiece(t *testing.T) {
	natstest.Long(t)
	srv := natstest.Start(t)
	st := open(t, srv)
	want := bytes.Repeat([]byte("0123456789abcdef"), 100_001) // no whole number of pieces
	v, err := st.Artifacts.Put(t.Context(), "default", "tsk_1", "result", want)
	if err != nil {
		t.Fatal(err)
	}
	var readers []io.Reader
	for range 100 {
		r, err := st.Artifacts.Open(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	js, err := jetstream.New(srv.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), topology.ArtifactStream)
	if err != nil {
		t.Fatal(err)
	}
	if n := stream.CachedInfo().State.Consumers; n != 0 {
		t.Errorf("%d consumers at the server for readers that do not read", n)
	}
	for _, r := range readers[:2] {
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
	}
	if got, err := st.Artifacts.Read(t.Context(), v); err != nil || !bytes.Equal(got, want) {
		t.Errorf("value of %d bytes, %v", len(got), err)
	}
	if err := st.Artifacts.Drop(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(readers[2]); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("an object that goes while it is read ends with %v", err)
	}
	if _, err := st.Artifacts.Read(t.Context(), v); !errors.Is(err, task.ErrNotFound) {
		t.Errorf("an object that is gone: %v", err)
	}
}

func TestManyLargeInputsAtOnceAreAllStored(t *testing.T) {
	st := open(t, natstest.Start(t))
	input := bytes.Repeat([]byte("x"), 8<<20)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if _, err := st.Artifacts.Put(t.Context(), "default", task.ID(fmt.Sprintf("tsk_%d", i)), "input", input); err != nil {
				t.Errorf("input %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

// A value that is stored anew while it is read is read to its end: after each of its
// pieces, also by who has begun with the last piece, and more than once.
func TestAnArtifactIsReadWhileItIsRenewed(t *testing.T) {
	st := open(t, natstest.Start(t))
	want := bytes.Repeat([]byte("0123456789abcdef"), 50_001) // four pieces, the last one short
	v, err := st.Artifacts.PutObject(t.Context(), "default", newTask().ID, "result", want)
	if err != nil {
		t.Fatal(err)
	}
	for before := 0; before < len(want); before += 100_000 {
		r, err := st.Artifacts.Open(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, before)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := st.Artifacts.Renew(t.Context(), v); err != nil {
				t.Fatal(err)
			}
			more := make([]byte, min(1000, len(want)-len(got)))
			if _, err := io.ReadFull(r, more); err != nil {
				t.Fatalf("renewed after %d bytes: %v", len(got), err)
			}
			got = append(got, more...)
		}
		rest, err := io.ReadAll(r)
		if got = append(got, rest...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("renewed after %d bytes: %d of %d are read, %v", before, len(got), len(want), err)
		}
	}
}

// One whose place another value has taken ends with an error, and no bytes of that one.
func TestAnArtifactThatIsReplacedWhileItIsReadIsNotMixed(t *testing.T) {
	st := open(t, natstest.Start(t))
	id, one, other := newTask().ID, bytes.Repeat([]byte("1"), 600_000), bytes.Repeat([]byte("2"), 600_000)
	v, err := st.Artifacts.PutObject(t.Context(), "default", id, "result", one)
	if err != nil {
		t.Fatal(err)
	}
	r, err := st.Artifacts.Open(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Artifacts.PutObject(t.Context(), "default", id, "result", other); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err == nil || errors.Is(err, task.ErrNotFound) || bytes.Contains(got, []byte("2")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
