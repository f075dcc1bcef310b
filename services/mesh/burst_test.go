package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentmesh/services/mesh/load"
	"agentmesh/shared/meshtest"
)

var (
	burstTasks = flag.Int("burst", 0, "tasks of a burst whose memory is measured; 0: none")
	burstRest  = flag.Duration("burst-rest", 150*time.Second, "how long the memory is watched after it: the server's memory of message ids lasts two minutes")
)

// A process that had a burst has little more memory, once it is over, than one that
// was started after it. It prints the figures and judges nothing.
func TestMemoryAfterABurst(t *testing.T) {
	if *burstTasks == 0 {
		t.Skip("measures for minutes: -burst 300000")
	}
	dir := t.TempDir()
	start := func() *meshtest.Process { return startUp(t, dir, "--lease", "30s", "--sync", "2m") }
	p := start()
	tell := func(when string) { fmt.Printf("| %s | %d |\n", when, residentOf(p)) }
	fmt.Printf("\n%d tasks, half of them waited for, `--sync 2m`.\n\n| | resident MB |\n|---|---|\n", *burstTasks)
	tell("at the start")
	r, err := load.Run(t.Context(), load.Config{URLs: []string{p.Gateway}, Agent: "echo", Tasks: *burstTasks / 2, Clients: 32, Payload: 200})
	if err != nil {
		t.Fatal(err)
	}
	tell(fmt.Sprintf("after the burst, at %.0f tasks/s", r.WholePath.PerSecond))
	const look = 30 * time.Second
	tick := time.NewTicker(look)
	defer tick.Stop()
	for rest := look; rest <= *burstRest; rest += look {
		<-tick.C
		tell(rest.String() + " later")
	}
	p.Signal(syscall.SIGTERM)
	<-p.Done
	p = start()
	<-tick.C
	tell("of a process that is started then")
}

// residentOf is the resident memory of a process in MB.
func residentOf(p *meshtest.Process) int {
	status, _ := os.ReadFile("/proc/" + strconv.Itoa(p.Cmd.Process.Pid) + "/status")
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, _ := strconv.Atoi(strings.Fields(rest + " 0")[0])
	return kb / 1024
}
