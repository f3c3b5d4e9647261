package appliance

import (
	"context"
	"io"

	"cryptoserve/cluster"
	"cryptoserve/engine"
)

// archive is the replicated state as engine.Archive has it.
type archive struct{ node *cluster.Node }

// Take returns the newest state of this node.
func (a archive) Take() (*engine.StateBackup, error) {
	b, err := a.node.Backup()
	if err != nil {
		return nil, err
	}
	return &engine.StateBackup{
		Cluster: b.Cluster, Index: b.Index, Term: b.Term, Digest: b.Digest, Records: b.Records, Write: b.Write,
	}, nil
}

// Read reads a state.
func (a archive) Read(r io.Reader) (engine.BackedState, error) {
	s, err := cluster.ReadBackup(r)
	if err != nil {
		return nil, err
	}
	return backedState{a.node, s}, nil
}

type backedState struct {
	node  *cluster.Node
	state *cluster.BackupState
}

func (b backedState) Report() engine.StateReport {
	found := b.state.Report()
	report := engine.StateReport{
		Cluster: found.Cluster, Index: found.Index, Term: found.Term, Digest: found.Digest, Records: found.Records,
		Problems: found.Problems, Found: found.Found,
	}
	for _, t := range found.Tables {
		report.Tables = append(report.Tables, engine.TableCount(t))
	}
	return report
}

func (b backedState) Losses() int { return b.state.Losses(b.node.View()) }

func (b backedState) Restore(ctx context.Context, at int64) error {
	return b.node.Restore(ctx, b.state, at)
}
