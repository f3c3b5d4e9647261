package cluster

import (
	"testing"

	"github.com/hashicorp/go-memdb"

	"cryptoserve/cluster/command"
	"cryptoserve/engine/fault"
)

// comes applies a Once as the entry at an index.
func comes(db *memdb.MemDB, index uint64, id byte, after uint64, c command.Command) command.Outcome {
	txn := db.Txn(true)
	defer txn.Commit()
	return applyEntry(txn, index, command.Once{ID: [16]byte{id}, After: after, Command: encoded(c)})
}

func TestOnceTakesEffectOnce(t *testing.T) {
	db := seeded(t)
	lease := command.LeaseUsage{Key: keyID("apple", 3), Count: 5}
	first := comes(db, 20, 1, 10, lease)
	before := newView(db, 0).Digest()
	if again := comes(db, 21, 1, 10, lease); again != first || first.Total != 5 || first.Granted != 5 {
		t.Fatalf("%+v, then %+v", first, again)
	}
	// Not even with another command.
	if again := comes(db, 22, 1, 10, command.DeleteApplication{Tenant: "ten-a", Application: "app-1"}); again != first {
		t.Fatalf("%+v, then %+v", first, again)
	}
	if newView(db, 0).Digest() != before {
		t.Fatal("what came again changed the state")
	}
	if other := comes(db, 23, 2, 10, lease); other.Total != 10 {
		t.Fatalf("%+v", other)
	}
}

// TestOnceKeepsRefusals: a command that was refused stays so, though it would succeed now.
func TestOnceKeepsRefusals(t *testing.T) {
	db := seeded(t)
	update := command.UpdateMember{ID: "node-1", Address: "node-1.example.com:1", CommandVersion: 1}
	first := comes(db, 20, 1, 10, update)
	mustApply(t, db, newMember("node-1"))
	if again := comes(db, 22, 1, 10, update); again != first || first.Refused != fault.NotFound || first.Detail == "" {
		t.Fatalf("%+v, then %+v", first, again)
	}
}

// TestOnceForgets: outcomes are kept for OnceSpan entries, and what is older is refused in place of being applied again.
func TestOnceForgets(t *testing.T) {
	db := seeded(t)
	lease := command.LeaseUsage{Key: keyID("apple", 3), Count: 1}
	total := func() uint64 { return newView(db, 0).Tenant("ten-a").Version(keyID("apple", 3)).Leased }
	kept := func() int { return len(all[answered](db.Txn(false), tableAnswered, indexID)) }
	comes(db, 20, 1, 19, lease)
	comes(db, 30, 2, 19, lease)
	const edge = 20 + command.OnceSpan
	if out := comes(db, edge-1, 1, 19, lease); out.Total != 1 || total() != 2 {
		t.Fatalf("%+v, %d in all", out, total())
	}
	if comes(db, edge-1, 3, edge-2, lease); kept() != 3 {
		t.Fatalf("%d outcomes are kept", kept())
	}
	if comes(db, edge, 4, edge-1, lease); kept() != 3 { // and the one of 20 went
		t.Fatalf("%d outcomes are kept", kept())
	}
	before := newView(db, 0).Digest()
	for index := uint64(edge); index < edge+3*command.OnceSpan; index += command.OnceSpan {
		if out := comes(db, index, 1, 19, lease); out.Refused != fault.LedgerUnavailable {
			t.Fatalf("at %d: %+v", index, out)
		}
	}
	if newView(db, 0).Digest() != before {
		t.Fatal("a proposal that came too late changed the state")
	}
	// After a long quiet time all old ones go with the next.
	if comes(db, 10*edge, 5, 10*edge-1, lease); kept() != 1 {
		t.Fatalf("%d outcomes are kept", kept())
	}
}

// TestOnceWindowIsClosed: whatever After a first copy had, a copy of it is either answered from the kept outcome or refused.
func TestOnceWindowIsClosed(t *testing.T) {
	for _, first := range []uint64{1, 5, command.OnceSpan, 3 * command.OnceSpan} {
		for _, behind := range []uint64{1, 2, command.OnceSpan / 2, command.OnceSpan} {
			if behind > first {
				continue
			}
			for _, later := range []uint64{1, command.OnceSpan / 2, command.OnceSpan - 1, command.OnceSpan, command.OnceSpan + 1, 5 * command.OnceSpan} {
				db := seeded(t)
				lease := command.LeaseUsage{Key: keyID("apple", 3), Count: 1}
				if out := comes(db, first, 1, first-behind, lease); out.Total != 1 {
					t.Fatalf("first %d after %d: %+v", first, first-behind, out)
				}
				comes(db, first+later, 9, first+later-1, lease) // has old ones forgotten
				out := comes(db, first+later+1, 1, first-behind, lease)
				if out.Refused != fault.LedgerUnavailable && out.Total != 1 {
					t.Fatalf("first %d after %d, again %d later: %+v", first, first-behind, later+1, out)
				}
			}
		}
	}
}
