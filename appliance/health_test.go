package appliance

import (
	"strings"
	"testing"
	"time"

	"cryptoserve/cluster"
	"cryptoserve/engine/audit"
	"cryptoserve/hsm"
)

func TestJudge(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	down := func(ago time.Duration) hsm.Status { return hsm.Status{Down: true, Since: now.Add(-ago)} }
	refused := func(ago time.Duration) hsm.Status {
		return hsm.Status{Down: true, Since: now.Add(-ago), PINRefused: true}
	}
	up, leads := hsm.Status{}, cluster.Status{Healthy: true}
	room := audit.Status{BytesLeft: 1 << 20}
	const grace = time.Minute
	cases := []struct {
		name   string
		token  hsm.Status
		grace  time.Duration
		audit  audit.Status
		ledger cluster.Status
		state  string
		// reasons has one string a reason: its code, then texts that its detail and next step contain, between bars.
		reasons []string
	}{
		{"all is well", up, grace, room, leads, stateOperational, nil},
		{"token down within the grace", down(20 * time.Second), grace, room, leads, stateDegraded,
			[]string{"hsm-unavailable|does not answer|40s more|by itself"}},
		{"token down for the whole grace", down(grace), grace, room, leads, stateFailed,
			[]string{"hsm-unavailable|does not answer|since 2026-05-04T11:59:00Z|by itself"}},
		{"token down without a grace", down(0), 0, room, leads, stateFailed, []string{"hsm-unavailable|does not answer|by itself"}},
		{"PIN refused within the grace", refused(time.Second), grace, room, leads, stateDegraded,
			[]string{"hsm-unavailable|refused the PIN|59s more|Correct the PIN file|restart the node"}},
		{"PIN refused after the grace", refused(2 * grace), grace, room, leads, stateFailed,
			[]string{"hsm-unavailable|refused the PIN|since 2026-05-04T11:58:00Z|Correct the PIN file|restart the node"}},
		{"audit log latched", up, grace, audit.Status{Latched: true, Reason: "write: input/output error", BytesLeft: 1 << 20}, leads, stateFailed,
			[]string{"audit-unavailable|cannot be written|audit verify"}},
		{"audit log latched and full", up, grace, audit.Status{Latched: true, SpareMissing: true, Reason: "write"}, leads, stateFailed,
			[]string{"audit-unavailable|cannot be written|audit verify"}},
		{"next segment missing", up, grace, audit.Status{SpareMissing: true, Reason: "no space left", BytesLeft: 1 << 20}, leads, stateDegraded,
			[]string{"audit-unavailable|next audit segment|Free space"}},
		{"next segment missing, room for one record", up, grace, audit.Status{SpareMissing: true, BytesLeft: auditRecordRoom}, leads, stateDegraded,
			[]string{"audit-unavailable|next audit segment"}},
		{"next segment missing, no room for a record", up, grace, audit.Status{SpareMissing: true, Reason: "no space left", BytesLeft: auditRecordRoom - 1},
			leads, stateFailed, []string{"audit-unavailable|another audit record|Free space"}},
		{"nearly at the end of a segment", up, grace, audit.Status{BytesLeft: 0}, leads, stateOperational, nil},
		{"no leader", up, grace, room, cluster.Status{Reason: "there is no leader"}, stateDegraded,
			[]string{"ledger-unavailable|cannot be recorded|disk of the data directory"}},
		{"failed stays failed", down(2 * grace), grace, audit.Status{SpareMissing: true, BytesLeft: 1 << 20}, cluster.Status{Reason: "slow"}, stateFailed,
			[]string{"hsm-unavailable", "audit-unavailable|next audit segment", "ledger-unavailable|cannot be recorded"}},
		{"degraded becomes failed", down(0), grace, audit.Status{Latched: true}, leads, stateFailed, []string{"hsm-unavailable", "audit-unavailable"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			j := judge(c.token, c.grace, c.audit, c.ledger, others{current: true, refuse: 1}, now)
			if j.state != c.state || len(j.reasons) != len(c.reasons) || j.reasons == nil {
				t.Fatalf("got %s, %+v; want %s and %d reasons", j.state, j.reasons, c.state, len(c.reasons))
			}
			for i, want := range c.reasons {
				code, texts, _ := strings.Cut(want, "|")
				got := j.reasons[i]
				if got.Code != code {
					t.Errorf("reason %d has the code %s, want %s", i, got.Code, code)
				}
				for _, text := range strings.Split(texts, "|") {
					if !strings.Contains(got.Detail+" "+got.NextStep, text) {
						t.Errorf("reason %d lacks %q: %+v", i, text, got)
					}
				}
			}
		})
	}
}

// TestReplica: a node that lost the others is failed, whatever else there is, and does not blame its disk alone.
func TestReplica(t *testing.T) {
	well := hsm.Status{}
	full := audit.Status{BytesLeft: 1 << 30}
	for _, ledger := range []cluster.Status{{Healthy: true}, {Reason: "no leader"}} {
		j := judge(well, time.Minute, full, ledger, others{}, time.Now())
		if j.state != stateFailed || len(j.reasons) != 1 || j.reasons[0].Code != "stale-replica" || j.reasons[0].NextStep == "" {
			t.Errorf("without a lease, %+v: %+v", ledger, j)
		}
		j = judge(well, time.Minute, full, ledger, others{refuse: 1}, time.Now())
		if len(j.reasons) != 1 || j.reasons[0].Code != "stale-replica" || !strings.Contains(j.reasons[0].NextStep, "removed") {
			t.Errorf("refused by another node, %+v: %+v", ledger, j)
		}
	}
}
