package auth

import (
	"net/netip"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestTooManyWrongSecretsLockTheirAddressForAWhileAndNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lockout
		bad, owner := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		for i := range lockAfter {
			if l.Wait("k", bad) != 0 {
				t.Fatalf("locked after %d", i)
			}
			if l.Failed("k", bad) != (i == lockAfter-1) {
				t.Errorf("failure %d", i+1)
			}
		}
		if l.Wait("k", bad) != lockFor || l.Wait("k", owner) != 0 || l.Wait("other", bad) != 0 {
			t.Errorf("waits %v, %v and %v", l.Wait("k", bad), l.Wait("k", owner), l.Wait("other", bad))
		}
		time.Sleep(lockFor)
		if l.Wait("k", bad) != 0 {
			t.Error("locked for good")
		}
	})
}

func TestFewWrongSecretsLockNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Lockout
		a := netip.MustParseAddr("192.0.2.1")
		for range 5 * lockAfter { // one every ten seconds
			l.Failed("slow", a)
			time.Sleep(lockWithin/lockAfter + 4*time.Second)
		}
		for range 5 { // a right one in between
			for range lockAfter - 1 {
				l.Failed("owner", a)
			}
			l.Passed("owner", a)
		}
		if l.Wait("slow", a) != 0 || l.Wait("owner", a) != 0 {
			t.Error("locked")
		}
	})
}

// Many addresses cost no more than so much memory; a host cannot go through its
// addresses of IPv6.
func TestALockoutRemembersABoundedNumber(t *testing.T) {
	var l Lockout
	for i := range lockRemember + 5000 {
		l.Failed(strconv.Itoa(i), netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(l.known) != lockRemember || l.order.Len() != lockRemember {
		t.Errorf("%d and %d are remembered", len(l.known), l.order.Len())
	}
	for i := range lockAfter {
		l.Failed("k", netip.MustParseAddr("2001:db8::"+strconv.Itoa(i+1)))
	}
	if l.Wait("k", netip.MustParseAddr("2001:db8::ffff")) == 0 || l.Wait("k", netip.MustParseAddr("2001:db8:0:1::1")) != 0 {
		t.Error("the network of 64 bits does not count as one")
	}
	for range lockAfter { // of no known address
		l.Failed("k", netip.Addr{})
	}
	if l.Wait("k", netip.Addr{}) == 0 || l.Wait("k", netip.MustParseAddr("::ffff:192.0.2.1")) != 0 {
		t.Error("no address")
	}
}
