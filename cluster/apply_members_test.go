package cluster

import (
	"testing"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/directory"
	"cryptoserve/engine/fault"
)

// joined is the member of world.
func joined() string { return joinNodeID(4) }

// more makes the requests of world members too: 3 is approved already.
func more() []command.Command { return []command.Command{command.CompleteJoin{ID: joinID(3), At: 50}} }

func TestAddMember(t *testing.T) {
	db := newState()
	mustApply(t, db, newCluster(), newMember("node-1"))
	m := newView(db, 0).Member("node-1")
	if m == nil || m.Status != directory.MemberActive || m.Address != "node-1.example.com:8444" {
		t.Fatalf("%+v", m)
	}
	for name, c := range map[string]struct {
		change func(*directory.Member)
		want   fault.Kind
	}{
		"no id":        {func(m *directory.Member) { m.ID = "" }, fault.Malformed},
		"bad id":       {func(m *directory.Member) { m.ID = "a b" }, fault.Malformed},
		"no name":      {func(m *directory.Member) { m.Name = "" }, fault.Malformed},
		"no address":   {func(m *directory.Member) { m.Address = "host" }, fault.Malformed},
		"no port":      {func(m *directory.Member) { m.Address = "host:" }, fault.Malformed},
		"bad API":      {func(m *directory.Member) { m.API = "x" }, fault.Malformed},
		"no key":       {func(m *directory.Member) { m.Key = [32]byte{} }, fault.Malformed},
		"removed":      {func(m *directory.Member) { m.Status = directory.MemberRemoved }, fault.Malformed},
		"was removed":  {func(m *directory.Member) { m.RemovedAt = 5 }, fault.Malformed},
		"no version":   {func(m *directory.Member) { m.CommandVersion = 0 }, fault.Conflict},
		"long program": {func(m *directory.Member) { m.Program = string(fill(300, 'x')) }, fault.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			db := newState()
			mustApply(t, db, newCluster())
			if out := applyAll(t, db, changed(newMember("node-1"), func(a *command.AddMember) { c.change(&a.Member) }))[0]; out.Refused != c.want {
				t.Fatalf("%+v", out)
			}
		})
	}
}

func TestMembersRefuse(t *testing.T) {
	update := command.UpdateMember{ID: joined(), Address: "192.0.2.9:8444", CommandVersion: 1}
	remove := command.RemoveMember{ID: joined(), At: 60}
	gone := append(more(), command.RemoveMember{ID: joinNodeID(3), At: 60})
	refuses(t, map[string]refusal{
		"add: there are members":     {newMember("node-1"), fault.Conflict, "others join it", nil},
		"update: unknown":            {changed(update, func(c *command.UpdateMember) { c.ID = "node-9" }), fault.NotFound, "does not exist", nil},
		"update: removed":            {changed(update, func(c *command.UpdateMember) { c.ID = joinNodeID(3) }), fault.Conflict, "was removed", gone},
		"update: no address":         {changed(update, func(c *command.UpdateMember) { c.Address = "host" }), fault.Malformed, "no valid address", nil},
		"update: of another":         {changed(update, func(c *command.UpdateMember) { c.Address = "192.0.2.3:8444" }), fault.Conflict, "another member", more()},
		"update: older than written": {changed(update, func(c *command.UpdateMember) { c.CommandVersion = 0 }), fault.Conflict, "older", nil},
		"remove: unknown":            {command.RemoveMember{ID: "node-9", At: 60}, fault.NotFound, "does not exist", nil},
		"remove: the last":           {remove, fault.Conflict, "last active", nil},
		"remove: the last, of two":   {remove, fault.Conflict, "last active", gone},
		"remove: twice":              {command.RemoveMember{ID: joinNodeID(3), At: 61}, fault.Conflict, "removed before", gone},
		"remove: no time":            {command.RemoveMember{ID: joinNodeID(3)}, fault.Malformed, "no time", more()},
		"finalise: 0":                {command.FinaliseVersion{}, fault.Malformed, "no version 0", nil},
		"finalise: not known":        {command.FinaliseVersion{Version: 2}, fault.Conflict, "does not know", nil},
		"finalise: back": {command.FinaliseVersion{Version: 1}, fault.Conflict, "newer version", []command.Command{
			changed(update, func(c *command.UpdateMember) { c.CommandVersion = 2 }), command.FinaliseVersion{Version: 2},
		}},
		"reset: unknown": {command.ResetMembers{Survivor: "node-9", At: 60}, fault.NotFound, "does not exist", nil},
		"reset: removed": {command.ResetMembers{Survivor: joinNodeID(3), At: 60}, fault.Conflict, "was removed", gone},
		"reset: no time": {command.ResetMembers{Survivor: joined()}, fault.Malformed, "no time", nil},
	})
}

func TestFinaliseWithoutMembers(t *testing.T) {
	db := newState()
	mustApply(t, db, newCluster())
	if out := applyAll(t, db, command.FinaliseVersion{Version: 2})[0]; out.Refused != fault.Conflict {
		t.Fatalf("%+v", out)
	}
}

func TestMembersLive(t *testing.T) {
	db := world(t)
	mustApply(t, db, more()...)
	mustApply(t, db,
		command.UpdateMember{ID: joined(), Address: "192.0.2.9:8444", API: "192.0.2.9:8443", CommandVersion: 2, Program: "2.0"},
		command.RemoveMember{ID: joinNodeID(3), At: 60}, command.FinaliseVersion{Version: 2})
	v := newView(db, 0)
	m, gone := v.Member(joined()), v.Member(joinNodeID(3))
	if m.Address != "192.0.2.9:8444" || m.CommandVersion != 2 || m.Name == "" || gone.Status != directory.MemberRemoved || gone.RemovedAt != 60 ||
		v.Cluster().CommandVersion != 2 {
		t.Fatalf("%+v, %+v, %+v", m, gone, v.Cluster())
	}
	// The same again changes nothing and is no mistake: whoever finalises or resets may have to repeat it.
	mustApply(t, db, command.FinaliseVersion{Version: 2}, command.ResetMembers{Survivor: joined(), At: 70})
	if v := newView(db, 0); v.Member(joinNodeID(3)).RemovedAt != 60 || len(v.activeMembers()) != 1 {
		t.Fatal("a removed member was removed again")
	}
}

func TestResetMembers(t *testing.T) {
	db := world(t)
	mustApply(t, db, more()...)
	mustApply(t, db, command.ResetMembers{Survivor: joinNodeID(3), At: 60})
	v := newView(db, 0)
	if m := v.Member(joined()); m.Status != directory.MemberRemoved || m.RemovedAt != 60 || v.Member(joinNodeID(3)).Status != directory.MemberActive {
		t.Fatalf("%+v", m)
	}
}
