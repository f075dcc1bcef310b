package main

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"agentmesh/shared/meshtest"
	"agentmesh/shared/natsconn"
	"agentmesh/shared/natstest"
	"agentmesh/shared/session"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
	"agentmesh/shared/topology"
)

// dataServer is the embedded server on dir, and a store on it.
func dataServer(t *testing.T, dir string, log *slog.Logger, acceptLoss bool) (_ *embedded, _ *store.Store, end func()) {
	t.Helper()
	cfg := defaultUp()
	cfg.server.Data, cfg.server.NATS, cfg.server.Sync, cfg.server.AcceptLoss = dir, "off", "2m", acceptLoss
	cfg.gateway.HTTP, cfg.admin.Admin = "127.0.0.1:0", "off"
	at, err := takePlace(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(at.close)
	srv, err := startServer(at, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.stop)
	nc, err := natsconn.InProcess(srv, "test", srv.token(), meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	st, err := store.Open(t.Context(), nc, store.Options{Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	return srv, st, func() {
		srv.close()
		at.close()
	}
}

// wealth is a folder of data with 30 tasks that wait for their time and a
// consumer, and what a clean stop leaves, or what a crash leaves.
func wealth(t *testing.T, clean bool) (dir string, ids []string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	srv, st, end := dataServer(t, dir, meshtest.Quiet(), false)
	if err := st.Consumers.Ensure(t.Context(), store.TaskQueue, "echo", 10, 30*time.Second); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		tk := &task.Task{
			ID: task.NewID(task.KindTask, uuid.Must(uuid.NewV7())), Tenant: "default", Kind: task.KindTask, Agent: "echo",
			Status: task.Pending, Instruction: "x", CreatedAt: task.Stamp(time.Now()), NotBefore: task.Stamp(time.Now().Add(time.Hour)),
		}
		if _, err := st.Tasks.Enqueue(t.Context(), tk); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, string(tk.ID))
	}
	if clean {
		end()
		return dir, ids
	}
	if err := srv.books.write(srv.server(), false); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image, ids
}

func streamFile(t *testing.T, dir, stream, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "nats", "jetstream", "$G", "streams", stream, pattern))
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s of %s: %v", pattern, stream, err)
	}
	return found[0]
}

// rewrite changes the bytes of a file.
func rewrite(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(raw), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// flip changes one bit in the middle.
func flip(raw []byte) []byte {
	raw[len(raw)/2] ^= 0x40
	return raw
}

// Damage is noticed at the start, whatever the server makes of it: it is an
// error that says what is missing, and stays one until somebody accepts the loss.
// No more is lost than what is damaged.
func TestDamageIsNoticedAtTheStart(t *testing.T) {
	blk := filepath.Join("msgs", "1.blk")
	for _, tt := range []struct {
		name   string
		crash  bool
		damage func(t *testing.T, dir string)
		want   string // of what is missing
		gone   int    // tasks at most
	}{
		{"nothing, stopped", false, func(*testing.T, string) {}, "", 0},
		{"nothing, crashed", true, func(*testing.T, string) {}, "", 0},
		{"a bit, stopped", false, func(t *testing.T, dir string) { rewrite(t, streamFile(t, dir, topology.Tasks, blk), flip) }, "MESH_TASKS: messages after 1", 1},
		{"a bit, crashed", true, func(t *testing.T, dir string) { rewrite(t, streamFile(t, dir, topology.Tasks, blk), flip) }, "MESH_TASKS: messages after 1", 1},
		{"half a block, crashed", true, func(t *testing.T, dir string) {
			rewrite(t, streamFile(t, dir, topology.Tasks, blk), func(raw []byte) []byte { return raw[:len(raw)/2] })
		}, "to 30 are gone", 17},
		{"a torn last record, crashed", true, func(t *testing.T, dir string) {
			rewrite(t, streamFile(t, dir, topology.Tasks, blk), func(raw []byte) []byte { return append(raw, raw[:100]...) })
		}, "", 0},
		{"the folder of a bucket", true, func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "nats", "jetstream", "$G", "streams", "KV_sessions")); err != nil {
				t.Fatal(err)
			}
		}, "KV_sessions: the whole stream is gone", 0},
		{"the settings of a stream", false, func(t *testing.T, dir string) { rewrite(t, streamFile(t, dir, topology.Tasks, "meta.inf"), flip) }, "MESH_TASKS: the server cannot read its meta.inf", 0},
		{"our own books", false, func(t *testing.T, dir string) {
			rewrite(t, filepath.Join(dir, booksFile), func([]byte) []byte { return []byte("{") })
		}, "books.json cannot be read", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir, ids := wealth(t, !tt.crash)
			tt.damage(t, dir)
			log := &meshtest.Transcript{}
			srv, st, end := dataServer(t, dir, slog.New(slog.NewTextHandler(log, nil)), false)
			whole := srv.books.whole()
			switch {
			case tt.want == "" && whole != nil:
				t.Errorf("noticed damage that is none: %v", whole)
			case tt.want != "" && (whole == nil || !strings.Contains(whole.Error(), tt.want) || !strings.Contains(whole.Error(), "--accept-loss")):
				t.Errorf("noticed: %v, want %s", whole, tt.want)
			case tt.want != "" && !strings.Contains(log.String(), "level=ERROR msg=\"data is missing\""):
				t.Errorf("no error in the log: %s", log)
			}
			gone := slices.DeleteFunc(ids, func(id string) bool {
				_, err := st.Tasks.Find(t.Context(), "default", task.ID(id))
				return err == nil
			})
			if len(gone) > tt.gone {
				t.Errorf("%d tasks are gone, want %d at most", len(gone), tt.gone)
			}
			end()
			again, _, end := dataServer(t, dir, meshtest.Quiet(), false)
			if still := again.books.whole(); (still == nil) != (whole == nil) {
				t.Errorf("after another start: %v", still)
			}
			end()
			accepted, _, _ := dataServer(t, dir, meshtest.Quiet(), true)
			if still := accepted.books.whole(); still != nil {
				t.Errorf("after it was accepted: %v", still)
			}
		})
	}
}

// Damage that can be mended does not stop the start: a consumer whose state is
// corrupt is named, set aside and begins anew, and no task is lost by it.
func TestACorruptConsumerIsBuiltAnew(t *testing.T) {
	dir, ids := wealth(t, false)
	rewrite(t, streamFile(t, dir, topology.Tasks, filepath.Join("obs", "agent-echo", "o.dat")), func(raw []byte) []byte { return []byte(strings.Repeat("\xff", len(raw))) })
	log := &meshtest.Transcript{}
	srv, st, _ := dataServer(t, dir, slog.New(slog.NewTextHandler(log, nil)), false)
	if err := st.Consumers.Ensure(t.Context(), store.TaskQueue, "echo", 10, 30*time.Second); err != nil {
		t.Errorf("its consumer: %v", err)
	}
	if !strings.Contains(log.String(), "agent-echo") || !strings.Contains(log.String(), "o.dat") {
		t.Errorf("the log does not name the file: %s", log)
	}
	if err := srv.books.whole(); err != nil {
		t.Errorf("noticed damage that is none: %v", err)
	}
	for _, id := range ids {
		if _, err := st.Tasks.Find(t.Context(), "default", task.ID(id)); err != nil {
			t.Error(err)
		}
	}
	var kept []string
	_ = filepath.WalkDir(filepath.Join(dir, keepFolder), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			kept = append(kept, filepath.Base(path))
		}
		return err
	})
	if !slices.Equal(kept, []string{"MESH_TASKS-agent-echo.dat"}) {
		t.Errorf("kept: %v", kept)
	}
}

// The whole path: /readyz says what is missing, and --accept-loss goes on.
func TestReadyzSaysWhatIsMissing(t *testing.T) {
	dir, _ := wealth(t, false)
	rewrite(t, streamFile(t, dir, topology.Tasks, filepath.Join("msgs", "1.blk")), flip)
	p := startUp(t, dir)
	if status, body := p.Ask(t, 10*time.Second, "GET", "/readyz", ""); status != 503 || !strings.Contains(body, "cannot be read") || !strings.Contains(body, "--accept-loss") {
		t.Errorf("/readyz = %d %s", status, body)
	}
	p.Signal(syscall.SIGTERM)
	<-p.Done
	p = startUp(t, dir, "--accept-loss")
	natstest.Until(t, "it is ready", func() bool {
		status, _ := p.Ask(t, 10*time.Second, "GET", "/readyz", "")
		return status == 200
	})
}

// Healthy blocks of every form are no damage, such as packed ones, which sessions
// had once, and those that lost most of their messages; a flipped bit of a packed block is.
func TestHealthyDataIsNotCalledDamaged(t *testing.T) {
	natstest.LongUnderRace(t)
	dir := filepath.Join(t.TempDir(), "data")
	srv, _, end := dataServer(t, dir, meshtest.Quiet(), false)
	nc, err := natsconn.InProcess(srv, "writer", srv.token(), meshtest.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := js.Stream(t.Context(), topology.BucketStream(topology.SessionsBucket))
	if err != nil {
		t.Fatal(err)
	}
	packing := sessions.CachedInfo().Config
	packing.Compression = jetstream.S2Compression // as meshes of before had it
	if err := js.DeleteStream(t.Context(), packing.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), packing); err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // a session and a record that change all the time, and others that stay
		text := []byte(strings.Repeat(fmt.Sprintf("message %d of many, ", i), 6000)) // 120 KB and more
		for _, subject := range []string{
			topology.Session("default", "ses_1"), topology.Session("default", session.ID(fmt.Sprintf("ses_%d", i))),
			topology.TaskRecord("default", "tsk_1"), topology.TaskReady("default", "echo", task.ID(fmt.Sprintf("tsk_%d", i))),
		} {
			if _, err := js.Publish(t.Context(), subject, text); err != nil {
				t.Fatal(err)
			}
		}
	}
	queue, err := js.Stream(t.Context(), topology.Tasks)
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq < 90; seq++ { // acked, most of them
		if err := queue.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	if err := srv.books.write(srv.server(), false); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	end()
	for _, data := range []string{dir, image} {
		blocks, err := blocksOf(filepath.Join(data, "nats"))
		if err != nil || len(blocks) < 14 {
			t.Fatalf("%d blocks, %v", len(blocks), err)
		}
		srv, _, end := dataServer(t, data, meshtest.Quiet(), false)
		if err := srv.books.whole(); err != nil {
			t.Errorf("noticed damage that is none: %v", err)
		}
		end()
	}
	packed := 0
	blocks, _ := blocksOf(filepath.Join(dir, "nats"))
	for _, b := range blocks {
		raw, err := os.ReadFile(b.path)
		if err != nil || !strings.HasPrefix(string(raw), "cmp") {
			continue
		}
		packed++
		rewrite(t, b.path, flip)
	}
	if packed == 0 {
		t.Fatal("no block is packed")
	}
	again, _, _ := dataServer(t, dir, meshtest.Quiet(), false)
	if err := again.books.whole(); err == nil || !strings.Contains(err.Error(), "KV_sessions") {
		t.Errorf("a packed block with a wrong bit: %v", err)
	}
}

// A form of blocks that this version does not know is no damage, and nothing is
// taken out of it.
func TestBlocksOfAnotherFormAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "nats", "jetstream", "$G", "streams", topology.Tasks, "msgs", "1.blk")
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	form := []byte(strings.Repeat("a form of tomorrow ", 100))
	if err := os.WriteFile(name, form, 0o600); err != nil {
		t.Fatal(err)
	}
	log := &meshtest.Transcript{}
	b := openBooks(dir, slog.New(slog.NewTextHandler(log, nil)))
	b.written.Clean = true // after a crash the end of a stream may be anything
	if err := b.checkBlocks(filepath.Join(dir, "nats")); err != nil || b.whole() != nil {
		t.Errorf("%v, %v", err, b.whole())
	}
	if after, err := os.ReadFile(name); err != nil || string(after) != string(form) || !strings.Contains(log.String(), "not checked") {
		t.Errorf("%d bytes are left, %v: %s", len(after), err, log)
	}
}
