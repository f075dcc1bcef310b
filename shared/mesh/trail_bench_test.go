package mesh_test

import (
	"io"
	"log/slog"
	"testing"

	"agentmesh/shared/auth"
	"agentmesh/shared/mesh"
	"agentmesh/shared/natstest"
	"agentmesh/shared/store"
	"agentmesh/shared/task"
)

// BenchmarkAcceptInTheCore is one accepted task without HTTP, its entry of the audit
// trail included, with the log written and not.
func BenchmarkAcceptInTheCore(b *testing.B) {
	var written io.Writer = io.Discard // it is formatted, and not kept
	for name, log := range map[string]*slog.Logger{"log=off": slog.New(slog.DiscardHandler), "log=on": slog.New(slog.NewTextHandler(written, nil))} {
		b.Run(name, func(b *testing.B) {
			nc := natstest.Start(b).Connect(b)
			st, err := store.Open(b.Context(), nc, store.Options{Replicas: 1})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := st.Registry.Register(b.Context(), task.Definition{Name: "echo"}, "w"); err != nil {
				b.Fatal(err)
			}
			m := mesh.New(st, mesh.Options{Log: log})
			defer m.Close()
			who := auth.Local()
			who.Subject, who.KeyID = "ada", "0123456789"
			b.ReportAllocs()
			for b.Loop() {
				if _, err := m.Tasks.Accept(b.Context(), who, &mesh.Submission{Kind: task.KindTask, Agent: "echo", Instruction: "x"}); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			m.Flush(b.Context())
		})
	}
}
