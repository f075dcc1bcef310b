package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/google/uuid"

	"agentmesh/shared/egress"
	"agentmesh/shared/proc"
	"agentmesh/shared/store"
)

// neighbours tells the other processes of the mesh where this one listens, and has
// the guard, if there is one, send nothing to where they do.
func neighbours(st *store.Store, at *ports, guard *egress.Guard, log *slog.Logger) proc.Part {
	host, _ := os.Hostname()
	mine := store.Listeners{Host: host, Addrs: reachable(at)}
	process := uuid.NewString()
	return proc.Part{Name: "neighbours", Run: func(ctx context.Context) error {
		tick := time.NewTicker(store.ListenersEvery)
		defer tick.Stop()
		for {
			if err := meet(ctx, st, process, mine, guard); err != nil && ctx.Err() == nil {
				log.Debug("listeners of the mesh not compared, trying again", "error", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_ = st.Registry.WithdrawListeners(last, process) // it expires by itself
				return nil
			}
		}
	}}
}

// meet is one round of it.
func meet(ctx context.Context, st *store.Store, process string, mine store.Listeners, guard *egress.Guard) error {
	if err := st.Registry.AnnounceListeners(ctx, process, mine); err != nil || guard == nil {
		return err
	}
	all, err := st.Registry.Listeners(ctx)
	if err != nil {
		return err
	}
	var here, there []netip.AddrPort
	for _, l := range all {
		if l.Host == mine.Host {
			here = append(here, l.Addrs...)
			continue
		}
		for _, a := range l.Addrs {
			if !a.Addr().IsLoopback() {
				there = append(there, a)
			}
		}
	}
	guard.DenyNeighbours(here, there)
	return nil
}

// reachable are the addresses at which others reach the listeners of a process.
func reachable(at *ports) (all []netip.AddrPort) {
	for _, l := range at.open {
		tcp, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		ap := tcp.AddrPort()
		if !ap.Addr().IsUnspecified() {
			all = append(all, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()))
			continue
		}
		interfaces, _ := net.InterfaceAddrs()
		for _, i := range interfaces {
			if n, ok := i.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					all = append(all, netip.AddrPortFrom(ip.Unmap(), ap.Port()))
				}
			}
		}
	}
	return all
}
