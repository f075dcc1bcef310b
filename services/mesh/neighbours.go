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
	mine := store.Listeners{Host: host, Addrs: addresses(at.open)}
	process := uuid.NewString()
	return announcing("neighbours", log, func(ctx context.Context) error {
		return meet(ctx, st, process, mine, guard)
	}, func(ctx context.Context) error { return st.Registry.WithdrawListeners(ctx, process) })
}

// announcing says something of this process now and again, and withdraws it at the
// end; without that it expires by itself.
func announcing(name string, log *slog.Logger, say, withdraw func(context.Context) error) proc.Part {
	return proc.Part{Name: name, Run: func(ctx context.Context) error {
		tick := time.NewTicker(store.ListenersEvery)
		defer tick.Stop()
		for {
			if err := say(ctx); err != nil && ctx.Err() == nil {
				log.Debug("not announced where this process listens, trying again", "error", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_ = withdraw(last)
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

// addresses are those at which others reach the listeners of a process.
func addresses(open []net.Listener) (all []netip.AddrPort) {
	for _, l := range open {
		all = append(all, reachable(l.Addr())...)
	}
	return all
}

// reachable are the addresses at which others reach a listener.
func reachable(at net.Addr) (all []netip.AddrPort) {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return nil
	}
	ap := tcp.AddrPort()
	if !ap.Addr().IsUnspecified() {
		return []netip.AddrPort{netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())}
	}
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if n, ok := i.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				all = append(all, netip.AddrPortFrom(ip.Unmap(), ap.Port()))
			}
		}
	}
	return all
}
