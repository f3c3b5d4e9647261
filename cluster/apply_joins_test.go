package cluster

import (
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

func joinCodeID(n int) string { return fmt.Sprintf("joincode_%016d", n) }
func joinID(n int) string     { return fmt.Sprintf("join_%016d", n) }
func joinNodeID(n int) string { return fmt.Sprintf("node_%016d", n) }

// joinHash is that of the n-th invitation's secret.
func joinHash(n int) [32]byte { return sha256.Sum256(fmt.Appendf(nil, "join %d", n)) }

func newJoinInvitation(n int, from, to int64) command.CreateJoinInvitation {
	return command.CreateJoinInvitation{Invitation: directory.JoinInvitation{
		ID: joinCodeID(n), Hash: joinHash(n), CreatedBy: userID("ten-b", 1), CreatedAt: from, ExpiresAt: to,
	}}
}

// newJoin is what node n asks with the n-th invitation.
func newJoin(n int, from, to int64) command.RequestJoin {
	return command.RequestJoin{Join: directory.Join{
		ID: joinID(n), Invitation: joinCodeID(n), Hash: joinHash(n), Node: joinNodeID(n), Name: fmt.Sprintf("host-%d", n),
		Address: fmt.Sprintf("192.0.2.%d:8444", n), API: fmt.Sprintf("192.0.2.%d:8443", n), Method: directory.JoinWrap,
		NodeKey: fill(91, byte(n)), JoinKey: fill(550, byte(n)), OAEP: "SHA-256", CommandVersion: 1, Program: "1.0.0",
		State: directory.JoinWaiting, CreatedAt: from, ExpiresAt: to,
	}}
}

func joinCheckValues() directory.KeyCheckValues {
	return directory.KeyCheckValues{Master: fill(8, 1), WrapPrivate: fill(8, 2), WrapSecret: fill(8, 3)}
}

func newKeyTransfer() *directory.KeyTransfer {
	return &directory.KeyTransfer{Master: fill(512, 1), WrapPrivate: fill(512, 2), WrapSecret: fill(512, 3), Check: joinCheckValues()}
}

// decided is a decision about a request as it should be.
func decided(j *directory.Join, approve bool, at int64) command.DecideJoin {
	c := command.DecideJoin{ID: j.ID, Approve: approve, Fingerprint: j.Fingerprint(), By: userID("ten-b", 1), At: at}
	if approve && j.Method == directory.JoinWrap {
		c.Transfer = newKeyTransfer()
	}
	return c
}

// ofCluster makes an invitation (1), a request that waits (2), one that is approved (3), and a member that joined (4).
func ofCluster() []command.Command {
	var list []command.Command
	for n := 1; n <= 4; n++ {
		list = append(list, newJoinInvitation(n, 10, lasting))
	}
	two, three, four := newJoin(2, 20, lasting), newJoin(3, 20, lasting), newJoin(4, 20, lasting)
	return append(list, two, three, decided(&three.Join, true, 30), four, decided(&four.Join, true, 30),
		command.CompleteJoin{ID: joinID(4), At: 40})
}

func TestJoinsRefuse(t *testing.T) {
	invite := func(f func(*directory.JoinInvitation)) command.Command {
		return changed(newJoinInvitation(9, 100, 200), func(c *command.CreateJoinInvitation) { f(&c.Invitation) })
	}
	ask := func(f func(*directory.Join)) command.Command {
		return changed(newJoin(1, 100, 200), func(c *command.RequestJoin) { f(&c.Join) })
	}
	shared := func(f func(*directory.Join)) command.Command {
		return ask(func(j *directory.Join) {
			j.Method, j.JoinKey, j.OAEP, j.Check = directory.JoinShared, nil, "", joinCheckValues()
			f(j)
		})
	}
	two, three := newJoin(2, 20, lasting), newJoin(3, 20, lasting)
	decide := func(f func(*command.DecideJoin)) command.Command { return changed(decided(&two.Join, true, 100), f) }
	sharedRequest := newJoin(1, 20, lasting)
	sharedRequest.Join.Method, sharedRequest.Join.JoinKey, sharedRequest.Join.OAEP = directory.JoinShared, nil, ""
	sharedRequest.Join.Check = joinCheckValues()
	const (
		code, node, address, key, method = "unknown, used or over", "no valid id or name", "no valid address", "no valid key", "does not fit the method"
		values, waits, ended             = "key check values do not fit", "does not wait", "does not exist, or is over"
	)
	refuses(t, map[string]refusal{
		"invite: no id":          {invite(func(i *directory.JoinInvitation) { i.ID = "" }), fault.Malformed, "is not valid", nil},
		"invite: no hash":        {invite(func(i *directory.JoinInvitation) { i.Hash = [32]byte{} }), fault.Malformed, "is not valid", nil},
		"invite: over":           {invite(func(i *directory.JoinInvitation) { i.ExpiresAt = 100 }), fault.Malformed, "is not valid", nil},
		"invite: too long":       {invite(func(i *directory.JoinInvitation) { i.ExpiresAt = 101 + 24*3600*1000 }), fault.Malformed, "longer than a day", nil},
		"invite: id twice":       {invite(func(i *directory.JoinInvitation) { i.ID = joinCodeID(1) }), fault.Conflict, "exists already", nil},
		"invite: code twice":     {invite(func(i *directory.JoinInvitation) { i.Hash = joinHash(1) }), fault.Conflict, "exists already", nil},
		"drop: unknown":          {command.DropJoinInvitation{ID: joinCodeID(9)}, fault.NotFound, "does not exist", nil},
		"drop: used":             {command.DropJoinInvitation{ID: joinCodeID(2)}, fault.NotFound, "does not exist", nil},
		"ask: wrong code":        {ask(func(j *directory.Join) { j.Hash = joinHash(9) }), fault.Unauthenticated, code, nil},
		"ask: used code":         {ask(func(j *directory.Join) { j.Hash, j.Invitation = joinHash(2), joinCodeID(2) }), fault.Unauthenticated, code, nil},
		"ask: withdrawn code":    {newJoin(1, 100, 200), fault.Unauthenticated, code, []command.Command{command.DropJoinInvitation{ID: joinCodeID(1)}}},
		"ask: ended code":        {newJoin(1, lasting, lasting+1), fault.Unauthenticated, code, nil},
		"ask: another code's id": {ask(func(j *directory.Join) { j.Invitation = joinCodeID(2) }), fault.Unauthenticated, code, nil},
		"ask: no id":             {ask(func(j *directory.Join) { j.ID = "" }), fault.Malformed, node, nil},
		"ask: id twice":          {ask(func(j *directory.Join) { j.ID = joinID(2) }), fault.Conflict, "exists already", nil},
		"ask: no node":           {ask(func(j *directory.Join) { j.Node = "" }), fault.Malformed, node, nil},
		"ask: bad node":          {ask(func(j *directory.Join) { j.Node = "../x" }), fault.Malformed, node, nil},
		"ask: bad name":          {ask(func(j *directory.Join) { j.Name = "a b" }), fault.Malformed, node, nil},
		"ask: long name":         {ask(func(j *directory.Join) { j.Name = strings.Repeat("n", 65) }), fault.Malformed, node, nil},
		"ask: no port":           {ask(func(j *directory.Join) { j.Address = "192.0.2.1" }), fault.Malformed, address, nil},
		"ask: port 0":            {ask(func(j *directory.Join) { j.Address = "192.0.2.1:0" }), fault.Malformed, address, nil},
		"ask: bad API":           {ask(func(j *directory.Join) { j.API = ":1" }), fault.Malformed, address, nil},
		"ask: no key":            {ask(func(j *directory.Join) { j.NodeKey = nil }), fault.Malformed, key, nil},
		"ask: long key":          {ask(func(j *directory.Join) { j.NodeKey = fill(257, 1) }), fault.Malformed, key, nil},
		"ask: strange method":    {ask(func(j *directory.Join) { j.Method = "post" }), fault.Malformed, "not known", nil},
		"ask: no join key":       {ask(func(j *directory.Join) { j.JoinKey = nil }), fault.Malformed, method, nil},
		"ask: long join key":     {ask(func(j *directory.Join) { j.JoinKey = fill(2049, 1) }), fault.Malformed, method, nil},
		"ask: no OAEP":           {ask(func(j *directory.Join) { j.OAEP = "" }), fault.Malformed, method, nil},
		"ask: values":            {ask(func(j *directory.Join) { j.Check = joinCheckValues() }), fault.Malformed, values, nil},
		"ask: long program":      {ask(func(j *directory.Join) { j.Program = strings.Repeat("p", 65) }), fault.Malformed, "too long", nil},
		"ask: approved":          {ask(func(j *directory.Join) { j.State = directory.JoinApproved }), fault.Malformed, waits, nil},
		"ask: with keys":         {ask(func(j *directory.Join) { j.Transfer = newKeyTransfer() }), fault.Malformed, waits, nil},
		"ask: decided":           {ask(func(j *directory.Join) { j.DecidedBy = "x" }), fault.Malformed, waits, nil},
		"ask: over":              {ask(func(j *directory.Join) { j.ExpiresAt = j.CreatedAt }), fault.Malformed, waits, nil},
		"ask: old program":       {ask(func(j *directory.Join) { j.CommandVersion = 0 }), fault.Conflict, "commands of version 1", nil},
		"ask: id that waits":     {ask(func(j *directory.Join) { j.Node = joinNodeID(2) }), fault.Conflict, "id or name", nil},
		"ask: name approved":     {ask(func(j *directory.Join) { j.Name = "host-3" }), fault.Conflict, "id or name", nil},
		"ask: id of a member":    {ask(func(j *directory.Join) { j.Node = joinNodeID(4) }), fault.Conflict, "with this id", nil},
		"ask: key of a member":   {ask(func(j *directory.Join) { j.NodeKey = fill(91, 4) }), fault.Conflict, "with this key", nil},
		"ask: name of a member":  {ask(func(j *directory.Join) { j.Name = "host-4" }), fault.Conflict, "with this name", nil},
		"ask: its address":       {ask(func(j *directory.Join) { j.Address = "192.0.2.4:8444" }), fault.Conflict, "with this address", nil},
		"shared: with join key":  {shared(func(j *directory.Join) { j.JoinKey = fill(550, 1) }), fault.Malformed, method, nil},
		"shared: with OAEP":      {shared(func(j *directory.Join) { j.OAEP = "SHA-1" }), fault.Malformed, method, nil},
		"shared: no values":      {shared(func(j *directory.Join) { j.Check.WrapSecret = nil }), fault.Malformed, values, nil},
		"decide: unknown":        {decide(func(c *command.DecideJoin) { c.ID = joinID(9) }), fault.NotFound, ended, nil},
		"decide: over":           {decide(func(c *command.DecideJoin) { c.At = lasting }), fault.NotFound, ended, nil},
		"decide: fingerprint":    {decide(func(c *command.DecideJoin) { c.Fingerprint[31] ^= 1 }), fault.Conflict, "not that of the node", nil},
		"decide: approved twice": {decided(&three.Join, true, 100), fault.Conflict, "decided already", nil},
		"decide: after approval": {decided(&three.Join, false, 100), fault.Conflict, "decided already", nil},
		"decide: after denial":   {decided(&two.Join, true, 100), fault.Conflict, "decided already", []command.Command{decided(&two.Join, false, 90)}},
		"decide: by nobody":      {decide(func(c *command.DecideJoin) { c.By = "" }), fault.Malformed, "nobody", nil},
		"decide: no keys":        {decide(func(c *command.DecideJoin) { c.Transfer = nil }), fault.Malformed, "does not fit", nil},
		"decide: half the keys":  {decide(func(c *command.DecideJoin) { c.Transfer.WrapSecret = nil }), fault.Malformed, "not whole", nil},
		"decide: huge keys":      {decide(func(c *command.DecideJoin) { c.Transfer.Master = fill(2049, 1) }), fault.Malformed, "not whole", nil},
		"decide: no values":      {decide(func(c *command.DecideJoin) { c.Transfer.Check.Master = nil }), fault.Malformed, "not whole", nil},
		"decide: denied, keys":   {decide(func(c *command.DecideJoin) { c.Approve = false }), fault.Malformed, "gets no keys", nil},
		"decide: shared, keys": {
			changed(decided(&sharedRequest.Join, true, 100), func(c *command.DecideJoin) { c.Transfer = newKeyTransfer() }),
			fault.Malformed, "does not fit", []command.Command{sharedRequest},
		},
		"complete: unknown":        {command.CompleteJoin{ID: joinID(9), At: 100}, fault.NotFound, ended, nil},
		"complete: over":           {command.CompleteJoin{ID: joinID(3), At: lasting}, fault.NotFound, ended, nil},
		"complete: not approved":   {command.CompleteJoin{ID: joinID(2), At: 100}, fault.Conflict, "not approved", nil},
		"complete: denied":         {command.CompleteJoin{ID: joinID(2), At: 100}, fault.Conflict, "not approved", []command.Command{decided(&two.Join, false, 90)}},
		"complete: twice":          {command.CompleteJoin{ID: joinID(4), At: 100}, fault.Conflict, "joined already", nil},
		"complete: twice in a row": {command.CompleteJoin{ID: joinID(3), At: 100}, fault.Conflict, "joined already", []command.Command{command.CompleteJoin{ID: joinID(3), At: 99}}},
	})
}

// TestJoin follows a node from the invitation to the member.
func TestJoin(t *testing.T) {
	db := world(t)
	view := func() *View { return newView(db, 0) }
	ask := newJoin(1, 100, 200)
	mustApply(t, db, ask)
	if view().JoinInvitation(joinHash(1)) != nil || len(view().JoinInvitations()) != 0 {
		t.Fatal("the invitation is not used up")
	}
	if got := view().Join(joinID(1)); !reflect.DeepEqual(*got, ask.Join) {
		t.Fatalf("%+v", got)
	}
	mustApply(t, db, decided(&ask.Join, true, 110))
	want := ask.Join
	want.State, want.Transfer, want.DecidedBy, want.DecidedAt = directory.JoinApproved, newKeyTransfer(), userID("ten-b", 1), 110
	if got := view().Join(joinID(1)); !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v", got)
	}
	if view().Member(joinNodeID(1)) != nil {
		t.Fatal("it is a member before it has the keys")
	}
	mustApply(t, db, command.CompleteJoin{ID: joinID(1), At: 120})
	want.State, want.Transfer = directory.JoinDone, nil
	if got := view().Join(joinID(1)); !reflect.DeepEqual(*got, want) {
		t.Fatalf("%+v", got)
	}
	member := directory.Member{
		ID: joinNodeID(1), Name: "host-1", Address: "192.0.2.1:8444", Key: sha256.Sum256(fill(91, 1)), Status: directory.MemberActive,
		API: "192.0.2.1:8443", JoinedAt: 120, CommandVersion: 1, Program: "1.0.0",
	}
	if got := view().Member(joinNodeID(1)); !reflect.DeepEqual(*got, member) {
		t.Fatalf("%+v", got)
	}
	// What is over goes with the next of its kind.
	mustApply(t, db, newJoinInvitation(5, 30, 40), newJoinInvitation(6, 200, 300), newJoin(6, 210, 300))
	if view().JoinInvitation(joinHash(5)) != nil || view().Join(joinID(1)) != nil || view().Join(joinID(2)) == nil {
		t.Fatal("what is over stays, or something goes that is not")
	}
}

// TestJoinWithoutTransfer: where the token has the keys already, none are sent.
func TestJoinWithoutTransfer(t *testing.T) {
	for _, method := range []directory.JoinMethod{directory.JoinShared, directory.JoinPreloaded} {
		db := world(t)
		ask := newJoin(1, 100, 200)
		ask.Join.Method, ask.Join.JoinKey, ask.Join.OAEP, ask.Join.Check, ask.Join.API = method, nil, "", joinCheckValues(), ""
		mustApply(t, db, ask, decided(&ask.Join, true, 110), command.CompleteJoin{ID: joinID(1), At: 120})
		if newView(db, 0).Member(joinNodeID(1)) == nil {
			t.Fatalf("%s: it is no member", method)
		}
	}
}

// TestRemovedNodesStayAway: neither id nor key of a removed node serves again, its name and address do. What was true when a node
// asked is looked at again when it becomes a member.
func TestRemovedNodesStayAway(t *testing.T) {
	db := world(t)
	remove := func(n int) {
		edit(db, func(txn *memdb.Txn) {
			m := *first[directory.Member](txn, tableMembers, indexID, joinNodeID(n))
			m.Status, m.RemovedAt = directory.MemberRemoved, 90
			put(txn, tableMembers, &m)
		})
	}
	remove(4)
	try := func(change func(*directory.Join)) command.Outcome {
		return applyAll(t, db, changed(newJoin(1, 100, 200), func(c *command.RequestJoin) { change(&c.Join) }))[0]
	}
	for name, change := range map[string]func(*directory.Join){
		"id": func(j *directory.Join) { j.Node = joinNodeID(4) }, "key": func(j *directory.Join) { j.NodeKey = fill(91, 4) },
	} {
		if out := try(change); out.Refused != fault.Conflict || !strings.Contains(out.Detail, "removed node") {
			t.Errorf("%s: %+v", name, out)
		}
	}
	if out := try(func(j *directory.Join) { j.Name, j.Address = "host-4", "192.0.2.4:8444" }); out.Refused != 0 {
		t.Fatalf("%+v", out)
	}
	waiting := newView(db, 0).Join(joinID(1))
	mustApply(t, db, decided(waiting, true, 110))
	edit(db, func(txn *memdb.Txn) {
		c := *first[directory.Cluster](txn, tableCluster, indexID, "")
		c.CommandVersion = 2
		put(txn, tableCluster, &c)
	})
	out := applyAll(t, db, command.CompleteJoin{ID: joinID(1), At: 120})[0]
	if out.Refused != fault.Conflict || !strings.Contains(out.Detail, "commands of version 2") {
		t.Fatalf("%+v", out)
	}
}

// TestJoinBounds: so many invitations and open requests and no more; decided and ended ones do not count.
func TestJoinBounds(t *testing.T) {
	db := world(t) // has one invitation, one request that waits and one that is approved
	for n := 10; n < 10+maxJoinInvitations-1; n++ {
		mustApply(t, db, newJoinInvitation(n, 50, 5000))
	}
	if out := applyAll(t, db, newJoinInvitation(500, 50, 5000))[0]; out.Refused != fault.Conflict || !strings.Contains(out.Detail, "withdraw some") {
		t.Fatalf("%+v", out)
	}
	for n := 10; n < 10+maxJoins-2; n++ {
		c := newJoin(n, 60, 5000)
		c.Join.Address = fmt.Sprintf("host-%d:8444", n)
		mustApply(t, db, c)
	}
	if out := applyAll(t, db, newJoin(1, 70, 5000))[0]; out.Refused != fault.RateLimited {
		t.Fatalf("%+v", out)
	}
	mustApply(t, db, decided(newView(db, 0).Join(joinID(10)), false, 80), newJoin(1, 90, 5000))
	// All that ended makes room.
	mustApply(t, db, newJoinInvitation(600, lasting, lasting+10), newJoin(600, lasting+1, lasting+10))
	if len(newView(db, 0).JoinInvitations()) != 0 || len(newView(db, 0).Joins()) != 1 {
		t.Fatal("what has ended is there still")
	}
}
