package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cryptoserve/cluster/command"
	"cryptoserve/engine"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
	"cryptoserve/engine/joincode"
)

// fleet is how the nodes are, as a test says.
type fleet struct {
	mu      sync.Mutex
	nodes   []directory.NodeStatus
	digests []directory.NodeDigest
	led     []string // who was to lead
	err     error
}

func (f *fleet) Nodes(context.Context) []directory.NodeStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

func (f *fleet) Digests(context.Context) []directory.NodeDigest { return f.digests }

func (f *fleet) TransferLeadership(_ context.Context, to string) error {
	f.led = append(f.led, to)
	return f.err
}

func well(id string) directory.NodeStatus {
	return directory.NodeStatus{ID: id, Reachable: true, Voter: true, Healthy: true, Term: 1, Lease: 1500, CommandVersion: command.Newest()}
}

// set makes the nodes: the first leads, those with a - before their name do not answer, those with a + have no vote yet, and those
// with a ! answer and are not healthy.
func (f *fleet) set(ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.nodes = nil
	for i, id := range ids {
		n := well(strings.TrimLeft(id, "-+!"))
		n.Leader = i == 0
		switch id[0] {
		case '-':
			n = directory.NodeStatus{ID: n.ID, Voter: true, Reason: "connection refused"}
		case '+':
			n.Voter = false
		case '!':
			n.Healthy, n.Reason = false, "its disk is full"
		}
		f.nodes = append(f.nodes, n)
	}
}

// clustered is a world whose node can be joined. Its first member is node_1.
type clustered struct {
	*world
	fleet    *fleet
	giver    *giver
	operator *engine.Call
}

func newClustered(t *testing.T) *clustered {
	t.Helper()
	c := &clustered{fleet: &fleet{}, giver: &giver{}}
	c.fleet.set("node_1")
	c.world = newWorld(t, func(cfg *engine.Config) { cfg.NodeID, cfg.Fleet, cfg.Keys = "node_1", c.fleet, c.giver })
	c.operator = c.userNamed("operator", directory.Operator)
	c.addMember(1)
	return c
}

func member(n int) string { return fmt.Sprintf("node_%d", n) }

// addMember makes a member by the commands of a join, without what an engine does.
func (c *clustered) addMember(n int) {
	c.t.Helper()
	j := directory.Join{
		ID: "join_" + member(n), Invitation: "joincode_" + member(n), Hash: joincode.Secret{byte(n)}.Hash(), Node: member(n),
		Name: fmt.Sprintf("host-%d", n), Address: fmt.Sprintf("192.0.2.%d:8444", n), Method: directory.JoinShared,
		NodeKey: fmt.Appendf(nil, "the key of node %d", n), Check: c.giver.KeyCheckValues(), CommandVersion: command.Newest(),
		State: directory.JoinWaiting, CreatedAt: 10, ExpiresAt: 20,
	}
	for _, cmd := range []command.Command{
		command.CreateJoinInvitation{Invitation: directory.JoinInvitation{ID: j.Invitation, Hash: j.Hash, CreatedAt: 1, ExpiresAt: 15}},
		command.RequestJoin{Join: j},
		command.DecideJoin{ID: j.ID, Approve: true, Fingerprint: j.Fingerprint(), By: "test", At: 11},
		command.CompleteJoin{ID: j.ID, At: 12},
	} {
		if _, err := c.ledger.Node.Propose(c.t.Context(), cmd); err != nil {
			c.t.Fatal(err)
		}
	}
}

// refusedAs fails unless an error is of a kind and says something.
func refusedAs(t *testing.T, err error, kind fault.Kind, says string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Detail+fmt.Sprint(e.Fields), says) {
		t.Errorf("the error is %v, want %s: %s", err, kind.Code(), says)
	}
}

// TestFaultToleranceInWords: what the status says is true, and says what to do.
func TestFaultToleranceInWords(t *testing.T) {
	c := newClustered(t)
	c.addMember(2)
	c.addMember(3)
	for name, test := range map[string]struct {
		nodes         []string
		leader        string
		voters, spare int
		says          string
	}{
		"one":             {[]string{"node_1"}, "node_1", 1, 0, "no node may fail: there is only one; add two nodes"},
		"two":             {[]string{"node_1", "node_2"}, "node_1", 2, 0, "no node may fail: one more failure stops writes; add a node"},
		"three":           {[]string{"node_2", "node_1", "node_3"}, "node_2", 3, 1, "1 of 3 nodes can fail"},
		"four":            {[]string{"node_1", "node_2", "node_3", "node_4"}, "node_1", 4, 1, "1 of 4 nodes can fail"},
		"five":            {[]string{"node_1", "node_2", "node_3", "node_4", "node_5"}, "node_1", 5, 2, "2 of 5 nodes can fail"},
		"one of five":     {[]string{"node_1", "node_2", "-node_3", "node_4", "node_5"}, "node_1", 5, 1, "4 of 5 nodes answer: 1 more can fail; start host-3 again"},
		"one of three":    {[]string{"node_1", "node_2", "-node_3"}, "node_1", 3, 0, "2 of 3 nodes answer: one more failure stops writes; start host-3 again"},
		"not healthy":     {[]string{"node_1", "node_2", "!node_3"}, "node_1", 3, 0, "2 of 3 nodes answer: one more failure stops writes; start host-3 again"},
		"two of three":    {[]string{"!node_1", "-node_2", "node_3"}, "node_1", 3, -1, "1 of 3 nodes answer: nothing can be written"},
		"catching up":     {[]string{"node_1", "+node_2"}, "node_1", 1, 0, "no node may fail: there is only one; add two nodes; not counted, because they are catching up: host-2"},
		"nobody is known": {nil, "", 0, -1, "it is not known who belongs to the cluster"},
	} {
		c.fleet.set(test.nodes...)
		s, err := c.engine.ClusterStatus(t.Context(), c.operator)
		if err != nil {
			t.Fatal(err)
		}
		if s.Leader != test.leader || s.Quorum.Voters != test.voters || s.Quorum.Spare() != test.spare || !strings.HasPrefix(s.FaultTolerance, test.says) {
			t.Errorf("%s: leader %q, %+v: %s", name, s.Leader, s.Quorum, s.FaultTolerance)
		}
	}
	// Of two that say they lead the one of the later term does. Who is not known yet stands there without a vote.
	c.fleet.set("node_1", "node_2")
	c.fleet.nodes[1].Leader, c.fleet.nodes[1].Term = true, 2
	s, err := c.engine.ClusterStatus(t.Context(), c.operator)
	if err != nil || s.Leader != "node_2" || s.Node != "node_1" || len(s.Members) != 3 || s.Members[0].Now.Lease != 1500 ||
		s.Members[2].Now.Reachable || s.Members[2].Now.Voter || s.Members[2].Now.Reason == "" {
		t.Fatalf("%+v, %v", s, err)
	}
}

// TestClusterWithoutAPort: a node that nobody can join says so.
func TestClusterWithoutAPort(t *testing.T) {
	w := newWorld(t)
	operator := w.userNamed("operator", directory.Operator)
	_, err := w.engine.ClusterStatus(t.Context(), operator)
	refusedAs(t, err, fault.Unavailable, "does not know how the others are")
	_, _, err = w.engine.InviteMember(t.Context(), operator, 0)
	refusedAs(t, err, fault.Conflict, "cluster.listen")
	_, _, err = w.engine.Digests(t.Context(), operator)
	refusedAs(t, err, fault.Unavailable, "does not know how the others are")
}

func TestInviteMember(t *testing.T) {
	c := newClustered(t)
	for n := 2; n <= 4; n++ {
		c.addMember(n)
	}
	i, code, err := c.engine.InviteMember(t.Context(), c.operator, 0)
	if err != nil {
		t.Fatal(err)
	}
	if i.ExpiresAt-i.CreatedAt != time.Hour.Milliseconds() || i.Hash != code.Secret.Hash() || i.CreatedBy != c.operator.Subject.ID ||
		code.ClusterID != "cluster_1" || code.Secret == (joincode.Secret{}) ||
		!slices.Equal(code.Addresses, []string{"192.0.2.1:8444", "192.0.2.2:8444", "192.0.2.3:8444"}) {
		t.Fatalf("%+v, %+v", i, code)
	}
	_, other, err := c.engine.InviteMember(t.Context(), c.operator, 24*time.Hour)
	if err != nil || other.Secret == code.Secret {
		t.Fatal("two codes are the same", err)
	}
	for _, lifetime := range []time.Duration{-1, time.Second, 24*time.Hour + 1} {
		_, _, err := c.engine.InviteMember(t.Context(), c.operator, lifetime)
		refusedAs(t, err, fault.Malformed, "1 to 1440")
	}
	list, err := c.engine.JoinInvitations(t.Context(), c.operator)
	if err != nil || len(list) != 2 {
		t.Fatalf("%d, %v", len(list), err)
	}
	c.clock.Add(int64(time.Hour))
	if list, err = c.engine.JoinInvitations(t.Context(), c.operator); err != nil || len(list) != 1 || list[0].Hash != other.Secret.Hash() {
		t.Fatalf("%d, %v", len(list), err)
	}
	if err := c.engine.DropJoinInvitation(t.Context(), c.operator, list[0].ID); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, c.engine.DropJoinInvitation(t.Context(), c.operator, list[0].ID), fault.NotFound, "no such invitation")
	// A code that was typed where the id belongs does not get into the audit log.
	text, err := code.Encode()
	if err != nil {
		t.Fatal(err)
	}
	refusedAs(t, c.engine.DropJoinInvitation(t.Context(), c.operator, text), fault.NotFound, "no such invitation")
	if r := c.audit.last.Load(); r.Resource != "withheld" {
		t.Errorf("the record names %q", r.Resource)
	}
}

// TestRemoveMember: what is left must be able to write, unless somebody insists, and somebody must be left.
func TestRemoveMember(t *testing.T) {
	c := newClustered(t)
	remove := func(id string, force bool) error {
		_, err := c.engine.RemoveMember(t.Context(), c.operator, id, engine.RemovalSpec{Force: force, Reason: "because"})
		return err
	}
	for _, force := range []bool{false, true} {
		refusedAs(t, remove("node_1", force), fault.Conflict, "it is the last node")
	}
	c.addMember(2)
	c.addMember(3)
	stop := errors.New("enough")
	var proposed []command.Command
	c.ledger.onPropose = func(cmd command.Command) error {
		g, ok := cmd.(command.Guarded)
		if !ok {
			t.Fatalf("%T does not look at the user again", cmd)
		}
		inside, err := g.Inner()
		if err != nil {
			t.Fatal(err)
		}
		proposed = append(proposed, inside)
		return stop
	}
	for name, test := range map[string]struct {
		nodes []string
		id    string
		force bool
		says  string // empty where it goes on
	}{
		"all well":               {[]string{"node_1", "node_2", "node_3"}, "node_3", false, ""},
		"the leader":             {[]string{"node_1", "node_2", "node_3"}, "node_1", false, ""},
		"the dead one":           {[]string{"node_1", "node_2", "-node_3"}, "node_3", false, ""},
		"the sick one":           {[]string{"node_1", "node_2", "!node_3"}, "node_3", false, ""},
		"another than the dead":  {[]string{"node_1", "node_2", "-node_3"}, "node_2", false, "1 of the 2 nodes that would be left answer, and 2 must"},
		"another than the sick":  {[]string{"node_1", "node_2", "!node_3"}, "node_2", false, "1 of the 2 nodes that would be left answer, and 2 must"},
		"so by force":            {[]string{"node_1", "node_2", "-node_3"}, "node_2", true, ""},
		"one that has no vote":   {[]string{"node_1", "-node_2", "+node_3"}, "node_3", false, ""},
		"one that nobody knows":  {[]string{"node_1", "node_2"}, "node_3", false, ""},
		"unknown":                {[]string{"node_1", "node_2", "node_3"}, "node_9", false, "no such node"},
		"unknown, by force":      {[]string{"node_1", "node_2", "node_3"}, "node_9", true, "no such node"},
		"the last one by health": {[]string{"node_1", "-node_2", "-node_3"}, "node_1", false, "0 of the 2 nodes"},
	} {
		proposed = nil
		c.fleet.set(test.nodes...)
		err := remove(test.id, test.force)
		r := c.audit.last.Load()
		switch {
		case test.says == "" && (!errors.Is(err, stop) || len(proposed) != 1 || proposed[0].(command.RemoveMember).ID != test.id):
			t.Errorf("%s: %v, proposed %+v", name, err, proposed)
		case test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says) || proposed != nil):
			t.Errorf("%s: %v", name, err)
		case r.Action != "cluster.remove" || r.Resource != test.id || test.force && test.says == "" && r.Cause != "forced":
			t.Errorf("%s: recorded %+v", name, r)
		}
	}
	_, err := c.engine.RemoveMember(t.Context(), c.operator, "node_3", engine.RemovalSpec{Reason: strings.Repeat("r", directory.ReasonMax+1)})
	refusedAs(t, err, fault.Malformed, "too long")
}

func TestTransferLeadership(t *testing.T) {
	c := newClustered(t)
	transfer := func(to string) error { return c.engine.TransferLeadership(t.Context(), c.operator, to) }
	refusedAs(t, transfer(""), fault.Conflict, "no other node")
	c.addMember(2)
	c.addMember(3)
	c.fleet.set("node_1", "node_2", "-node_3")
	refusedAs(t, transfer("node_1"), fault.Conflict, "leads already")
	refusedAs(t, transfer("node_3"), fault.Conflict, "does not answer")
	refusedAs(t, transfer("node_9"), fault.NotFound, "no such node")
	c.fleet.set("node_1", "node_2", "+node_3")
	refusedAs(t, transfer("node_3"), fault.Conflict, "catching up")
	if len(c.fleet.led) != 0 {
		t.Fatal(c.fleet.led)
	}
	for _, to := range []string{"", "node_2"} {
		if err := transfer(to); err != nil {
			t.Fatal(err)
		}
	}
	c.fleet.err = fault.New(fault.LedgerUnavailable, "test", "it did not take over in time")
	refusedAs(t, transfer("node_2"), fault.LedgerUnavailable, "in time")
	if !slices.Equal(c.fleet.led, []string{"", "node_2", "node_2"}) || c.audit.last.Load().Code != fault.LedgerUnavailable.Code() {
		t.Fatalf("%v, %+v", c.fleet.led, c.audit.last.Load())
	}
}

// TestDigests: equal ones are equal, and one that differs is told however many are equal.
func TestDigests(t *testing.T) {
	c := newClustered(t)
	at := func(id string, index uint64, digest byte) directory.NodeDigest {
		return directory.NodeDigest{ID: id, Applied: index, Digest: [32]byte{digest}}
	}
	silent := directory.NodeDigest{ID: "node_3", Reason: "it did not answer"}
	for name, test := range map[string]struct {
		list []directory.NodeDigest
		want engine.Agreement
	}{
		"all equal":          {[]directory.NodeDigest{at("1", 5, 1), at("2", 5, 1), at("3", 5, 1)}, engine.Agree},
		"one":                {[]directory.NodeDigest{at("1", 5, 1)}, engine.Agree},
		"one differs":        {[]directory.NodeDigest{at("1", 5, 1), at("2", 5, 2), at("3", 5, 1)}, engine.Differ},
		"at other places":    {[]directory.NodeDigest{at("1", 5, 1), at("2", 6, 2)}, engine.Unknown},
		"one is silent":      {[]directory.NodeDigest{at("1", 5, 1), at("2", 5, 1), silent}, engine.Unknown},
		"silent and differs": {[]directory.NodeDigest{silent, at("1", 5, 1), at("2", 5, 2)}, engine.Differ},
		"none":               {nil, engine.Unknown},
	} {
		c.fleet.digests = test.list
		list, got, err := c.engine.Digests(t.Context(), c.operator)
		if err != nil || got != test.want || !slices.Equal(list, test.list) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
}

func TestFinaliseVersion(t *testing.T) {
	c := newClustered(t)
	c.addMember(2)
	finalise := func(version uint32) error {
		_, err := c.engine.FinaliseVersion(t.Context(), c.operator, version)
		return err
	}
	newest := command.Newest()
	already := fmt.Sprintf("version %d already", newest)
	refusedAs(t, finalise(0), fault.Conflict, already)
	refusedAs(t, finalise(newest), fault.Conflict, already)
	refusedAs(t, finalise(newest+1), fault.Conflict,
		fmt.Sprintf("host-1 knows commands up to version %d, host-2 knows commands up to version %d", newest, newest))
}

// TestWhoAdministersTheCluster: operators do, auditors look, and nobody else.
func TestWhoAdministersTheCluster(t *testing.T) {
	c := newClustered(t)
	ctx := t.Context()
	reads := map[string]func(*engine.Call) error{
		"status":      func(call *engine.Call) error { _, err := c.engine.ClusterStatus(ctx, call); return err },
		"invitations": func(call *engine.Call) error { _, err := c.engine.JoinInvitations(ctx, call); return err },
		"joins":       func(call *engine.Call) error { _, err := c.engine.Joins(ctx, call); return err },
		"digest":      func(call *engine.Call) error { _, _, err := c.engine.Digests(ctx, call); return err },
	}
	changes := map[string]func(*engine.Call) error{
		"invite": func(call *engine.Call) error { _, _, err := c.engine.InviteMember(ctx, call, 0); return err },
		"drop":   func(call *engine.Call) error { return c.engine.DropJoinInvitation(ctx, call, "x") },
		"approve": func(call *engine.Call) error {
			_, err := c.engine.ApproveJoin(ctx, call, "x", "0123456789abcdef")
			return err
		},
		"deny": func(call *engine.Call) error { _, err := c.engine.DenyJoin(ctx, call, "x"); return err },
		"remove": func(call *engine.Call) error {
			_, err := c.engine.RemoveMember(ctx, call, "x", engine.RemovalSpec{})
			return err
		},
		"transfer": func(call *engine.Call) error { return c.engine.TransferLeadership(ctx, call, "x") },
		"finalise": func(call *engine.Call) error { _, err := c.engine.FinaliseVersion(ctx, call, 9); return err },
	}
	callers := map[string]*engine.Call{
		"nobody": {}, "application": c.call(), "owner": c.userNamed("o", directory.Owner), "backup": c.userNamed("b", directory.Backup),
		"auditor": c.userNamed("a", directory.Auditor), "operator": c.operator,
	}
	for who, call := range callers {
		for name, act := range reads {
			refused := fault.Of(act(call)) == fault.Forbidden || fault.Of(act(call)) == fault.Unauthenticated
			if want := who != "operator" && who != "auditor"; refused != want {
				t.Errorf("%s as %s: refused %v", name, who, refused)
			}
		}
		for name, act := range changes {
			refused := fault.Of(act(call)) == fault.Forbidden || fault.Of(act(call)) == fault.Unauthenticated
			if want := who != "operator"; refused != want {
				t.Errorf("%s as %s: refused %v", name, who, refused)
			}
		}
	}
	// One who loses his role meanwhile is refused by the ledger.
	another := c.userNamed("p", directory.Operator)
	c.beforeNext(func() {
		if _, err := c.ledger.Node.Propose(ctx, setRoles(another, directory.Viewer)); err != nil {
			t.Error(err)
		}
	})
	if _, _, err := c.engine.InviteMember(ctx, another, 0); fault.Of(err) != fault.Unauthenticated {
		t.Errorf("%v", err)
	}
}
