package clustertest

import (
	"bytes"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is an Ethernet of its own: a bridge, and one network namespace for each host. The test itself stays outside, with an
// address on the same bridge, and reaches every host whatever is cut between hosts. The namespaces have no names: they live
// as long as this process or a process in them, so that nothing stays behind even after kill -9. Goroutines may share it.
type Network struct {
	iptables string
	prefix   netip.Prefix
	test     netip.Addr
	link     string // the test's end of the cable to the bridge
	hub      *namespace
	hosts    []*Host

	mu  sync.Mutex
	cut map[[2]string]bool // names of hosts: from, to
}

// Host is one machine of a network.
type Host struct {
	Name string
	Addr netip.Addr

	network *Network
	space   *namespace
}

// Available says why networks cannot be made here, nil if they can.
func Available() error {
	if os.Geteuid() != 0 {
		return errors.New("clustertest: network namespaces need root: run the tests as root, as continuous integration does")
	}
	var missing []string
	if _, err := exec.LookPath("ip"); err != nil {
		missing = append(missing, "ip")
	}
	if len(filters()) == 0 {
		missing = append(missing, "iptables")
	}
	if missing != nil {
		return fmt.Errorf("clustertest: %s not found: run `make netdeps`, which installs iproute2 and iptables", strings.Join(missing, " and "))
	}
	return nil
}

// filters returns the programs that can drop packets, the machine's choice first.
func filters() []string {
	var found []string
	for _, name := range []string{"iptables", "iptables-nft", "iptables-legacy"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	return found
}

// NewNetwork makes a network with a host for each name, and removes it when the test ends. It fails the test when it cannot be made.
func NewNetwork(tb testing.TB, names ...string) *Network {
	tb.Helper()
	n, err := newNetwork(names)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	return n
}

func newNetwork(names []string) (n *Network, err error) {
	if err := Available(); err != nil {
		return nil, err
	}
	if len(names) == 0 || len(names) > 200 {
		return nil, fmt.Errorf("clustertest: a network of %d hosts: ask for 1 to 200", len(names))
	}
	n = &Network{link: "cstest-" + strings.ToLower(crand.Text()[:8]), cut: map[[2]string]bool{}}
	defer func() {
		if err != nil {
			n.Close()
		}
	}()
	if n.prefix, err = freePrefix(); err != nil {
		return nil, err
	}
	n.test = n.prefix.Addr().Next()
	if n.hub, err = newNamespace(); err != nil {
		return nil, err
	}
	hub := []string{"link add bridge type bridge forward_delay 0 stp_state 0", "link set bridge up"}
	addr := n.prefix.Addr().As4()
	for i, name := range names {
		space, err := newNamespace()
		if err != nil {
			return nil, err
		}
		addr[3] = byte(11 + i) // #nosec G115 -- at most 200 hosts
		n.hosts = append(n.hosts, &Host{Name: name, Addr: netip.AddrFrom4(addr), network: n, space: space})
		hub = append(hub, fmt.Sprintf("link add port%d type veth peer name eth0 netns %s", i, space.path()),
			fmt.Sprintf("link set port%d master bridge up", i))
	}
	if err := n.hub.ip(hub...); err != nil {
		return nil, err
	}
	for _, h := range n.hosts {
		if err := h.space.ip("link set lo up", fmt.Sprintf("addr add %s/24 dev eth0", h.Addr), "link set eth0 up"); err != nil {
			return nil, err
		}
	}
	var outside *namespace
	if err := outside.ip(fmt.Sprintf("link add %s type veth peer name uplink netns %s", n.link, n.hub.path()),
		fmt.Sprintf("addr add %s/24 dev %s", n.test, n.link), fmt.Sprintf("link set %s up", n.link)); err != nil {
		return nil, err
	}
	if err := n.hub.ip("link set uplink master bridge up"); err != nil {
		return nil, err
	}
	return n, n.chooseFilter()
}

// chooseFilter takes the first program that works with this kernel.
func (n *Network) chooseFilter() error {
	var why []error
	for _, path := range filters() {
		err := n.hosts[0].space.run(nil, path, "-w", "-S", "INPUT")
		if err == nil {
			n.iptables = path
			return nil
		}
		why = append(why, err)
	}
	return fmt.Errorf("clustertest: no iptables works here, so that no partition can be made: %w", errors.Join(why...))
}

// freePrefix picks a random 10.x.y.0/24 that overlaps with no address of this machine.
func freePrefix() (netip.Prefix, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("clustertest: list the machine's addresses: %w", err)
	}
	for range 100 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rand.Uint32N(256)), byte(rand.Uint32N(256)), 0}), 24) // #nosec G115 G404
		free := func(a net.Addr) bool {
			other, err := netip.ParsePrefix(a.String())
			return err == nil && !other.Overlaps(p)
		}
		if !slices.ContainsFunc(taken, func(a net.Addr) bool { return !free(a) }) {
			return p, nil
		}
	}
	return netip.Prefix{}, errors.New("clustertest: this machine uses all of 10.0.0.0/8: no network for tests is left")
}

// Hosts returns the hosts in the order of their names in NewNetwork.
func (n *Network) Hosts() []*Host { return slices.Clone(n.hosts) }

// Host returns the host of a name, nil if there is none.
func (n *Network) Host(name string) *Host {
	i := slices.IndexFunc(n.hosts, func(h *Host) bool { return h.Name == name })
	if i < 0 {
		return nil
	}
	return n.hosts[i]
}

// Addr is the address of the test on the network.
func (n *Network) Addr() netip.Addr { return n.test }

// Close removes the network. What still runs in it goes on without a cable.
func (n *Network) Close() {
	if n.hub == nil {
		return
	}
	// Its link is gone with the other end, should somebody have removed that.
	var outside *namespace
	_ = outside.ip("link del " + n.link)
	for _, h := range n.hosts {
		h.space.close()
	}
	n.hub.close()
	n.hub = nil
}

// Partition cuts two hosts from each other. With oneWay, b does not hear a any more but a hears b.
func (n *Network) Partition(a, b *Host, oneWay bool) error {
	if oneWay || a == b {
		return n.change(map[[2]string]bool{{a.Name, b.Name}: true})
	}
	return n.change(map[[2]string]bool{{a.Name, b.Name}: true, {b.Name, a.Name}: true})
}

// Rejoin undoes Partition in both directions.
func (n *Network) Rejoin(a, b *Host) error {
	return n.change(map[[2]string]bool{{a.Name, b.Name}: false, {b.Name, a.Name}: false})
}

// Isolate cuts a host from all others.
func (n *Network) Isolate(h *Host) error { return n.around(h, true) }

// Reconnect undoes Isolate.
func (n *Network) Reconnect(h *Host) error { return n.around(h, false) }

func (n *Network) around(h *Host, cut bool) error {
	want := map[[2]string]bool{}
	for _, other := range n.hosts {
		if other != h {
			want[[2]string{h.Name, other.Name}] = cut
			want[[2]string{other.Name, h.Name}] = cut
		}
	}
	return n.change(want)
}

// Heal takes every cut away.
func (n *Network) Heal() error {
	n.mu.Lock()
	want := maps.Clone(n.cut)
	n.mu.Unlock()
	for pair := range want {
		want[pair] = false
	}
	return n.change(want)
}

// change brings the rules of all hosts to what is wanted. A cut is a rule of the host that shall not hear: it drops what comes from the
// other one's address.
func (n *Network) change(want map[[2]string]bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for pair, cut := range want {
		if n.cut[pair] == cut {
			continue
		}
		from, to := n.Host(pair[0]), n.Host(pair[1])
		act := "-A"
		if !cut {
			act = "-D"
		}
		if err := to.space.run(nil, n.iptables, "-w", act, "INPUT", "-s", from.Addr.String(), "-j", "DROP"); err != nil {
			return err
		}
		if n.cut[pair] = cut; !cut {
			delete(n.cut, pair)
		}
	}
	return nil
}

// Flap cuts a host from all others and joins it again, each for half of the period, until stop is called; it ends joined.
func (n *Network) Flap(h *Host, period time.Duration) (stop func() error) {
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		tick := time.NewTicker(period / 2)
		defer tick.Stop()
		for cut := true; ; cut = !cut {
			if err := n.around(h, cut); err != nil {
				done <- err
				return
			}
			select {
			case <-tick.C:
			case <-end:
				done <- n.Reconnect(h)
				return
			}
		}
	}()
	return func() error {
		close(end)
		return <-done
	}
}

// Run runs a program on the host and returns its error with what it wrote to standard error.
func (h *Host) Run(program string, args ...string) error { return h.space.run(nil, program, args...) }

// namespace is a network namespace that this process holds open. Nil is the one that the test runs in.
type namespace struct {
	fd int
}

func newNamespace() (*namespace, error) {
	s := &namespace{fd: -1}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("clustertest: make a network namespace: %w", err)
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		s.fd = fd
		return err
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *namespace) close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd) // a descriptor that only names the namespace: nothing can be lost
		s.fd = -1
	}
}

// path names the namespace to programs of others.
func (s *namespace) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.fd) }

// enter moves the calling thread, which must be locked, for good.
func (s *namespace) enter() error {
	if s == nil {
		return nil
	}
	if err := unix.Setns(s.fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("clustertest: enter a network namespace: %w", err)
	}
	return nil
}

// ip runs commands of ip(8), all or up to the first that fails.
func (s *namespace) ip(commands ...string) error {
	return s.run([]byte(strings.Join(commands, "\n")+"\n"), "ip", "-batch", "-")
}

func (s *namespace) run(stdin []byte, program string, args ...string) error {
	return onOwnThread(func() error {
		if err := s.enter(); err != nil {
			return err
		}
		cmd := exec.Command(program, args...) // #nosec G204 -- of this package
		cmd.Stdin = bytes.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("clustertest: %s %s %s: %w: %s", program, strings.Join(args, " "), bytes.TrimSpace(stdin), err,
				bytes.TrimSpace(stderr.Bytes()))
		}
		return nil
	})
}
