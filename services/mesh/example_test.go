package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"agentmesh/gateway/client"
	"agentmesh/services/mesh/cli"
	"agentmesh/shared/natstest"
)

// exampleMesh runs a mesh on free ports, with its data in a folder, until stop.
func exampleMesh() (gatewayURL, natsURL, data string, stop func()) {
	natstest.ForgetBubbles() // of the tests before
	dir, err := os.MkdirTemp("", "mesh-example-")
	if err != nil {
		panic(err)
	}
	cfg := defaultUp()
	cfg.server.Data, cfg.admin.Admin, cfg.log.Level = dir, "off", 8
	if cfg.gateway.HTTP, err = freeAddress(); err != nil {
		panic(err)
	}
	if cfg.server.NATS, err = freeAddress(); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- up(ctx, cfg, io.Discard) }()
	gatewayURL = "http://" + cfg.gateway.HTTP
	for cli.Ready(ctx, gatewayURL+"/readyz") != nil {
		select {
		case err := <-ended:
			panic(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return gatewayURL, "nats://" + cfg.server.NATS, dir, func() {
		cancel()
		<-ended
		_ = os.RemoveAll(dir)
	}
}

// start has the sample agent echo do something.
func start(ctx context.Context, gatewayURL string) {
	c, err := client.New(gatewayURL)
	if err == nil {
		_, err = c.Tasks.Create(ctx, client.Request{Agent: "echo", Instruction: "hello"}, client.CreateOptions{})
	}
	if err != nil {
		panic(err)
	}
}

// Over HTTP the events of all tasks are one stream, here of those that have
// completed.
func Example_eventStream() {
	gatewayURL, _, _, stop := exampleMesh()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	start(ctx, gatewayURL)

	c, err := client.New(gatewayURL)
	if err != nil {
		fmt.Println(err)
		return
	}
	// After: the id of the last event that was seen; "0" is the oldest kept.
	for e, err := range c.MeshEvents(ctx, client.MeshFilter{Types: []string{"task.completed"}, After: "0"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		var event struct {
			Agent  string          `json:"agent"`
			Result json.RawMessage `json:"result"`
		}
		if err := json.Unmarshal(e.Data, &event); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s by %s: %s\n", e.Type, event.Agent, event.Result)
		break
	}
	// Output: task.completed by echo: {"instruction":"hello"}
}

// On NATS each change of a task's record is a message on
// mesh.events.<tenant>.<task>, sent at most once: for dashboards, not for books.
func Example_natsSubject() {
	gatewayURL, natsURL, data, stop := exampleMesh()
	defer stop()
	token, err := os.ReadFile(filepath.Join(data, "nats.token")) // of mesh up
	if err != nil {
		fmt.Println(err)
		return
	}
	nc, err := nats.Connect(natsURL, nats.Token(strings.TrimSpace(string(token))))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nc.Close()
	changes, err := nc.SubscribeSync("mesh.events.default.*")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := nc.Flush(); err != nil { // the server knows of the subscription now
		fmt.Println(err)
		return
	}
	start(context.Background(), gatewayURL)

	for {
		msg, err := changes.NextMsg(10 * time.Second)
		if err != nil {
			fmt.Println(err)
			return
		}
		var record struct {
			Agent  string `json:"agent"`
			Status string `json:"status"`
		}
		if err := json.Unmarshal(msg.Data, &record); err == nil && record.Status == "completed" {
			fmt.Println(record.Agent, record.Status)
			return
		}
	}
	// Output: echo completed
}
