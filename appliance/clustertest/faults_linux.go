package clustertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Fault is a kind of fault that the driver injects.
type Fault string

// The faults. A node that is killed is started again after a while; a paused one goes on; what is cut is joined; and so on.
const (
	KillLeader       Fault = "kill -9 the leader"
	KillFollower     Fault = "kill -9 a follower"
	KillAll          Fault = "kill -9 all"
	StopLeader       Fault = "stop the leader"
	PauseLeader      Fault = "pause the leader"
	PauseFollower    Fault = "pause a follower"
	IsolateLeader    Fault = "cut off the leader"
	IsolateFollower  Fault = "cut off a follower"
	CutOneWay        Fault = "cut one way"
	CutPair          Fault = "cut two nodes"
	Flapping         Fault = "flapping link"
	SlowDisk         Fault = "slow disk"
	HungDisk         Fault = "hung disk"
	FullDisk         Fault = "full disk"
	LostToken        Fault = "lost token"
	slowestSync            = 200 * time.Millisecond
	restartTimeout         = 60 * time.Second
	shortestFlapping       = 200 * time.Millisecond
)

// AllFaults are all of them, in the order of the report.
var AllFaults = []Fault{
	KillLeader, KillFollower, KillAll, StopLeader, PauseLeader, PauseFollower, IsolateLeader, IsolateFollower, CutOneWay, CutPair, Flapping,
	SlowDisk, HungDisk, FullDisk, LostToken,
}

// Injected is a fault that was injected, with the times at which it began to work and was undone, on the clock of the history.
type Injected struct {
	Fault    Fault
	Nodes    string
	From, To time.Duration
}

// Possible tells why a fault cannot be injected into a cluster, nil if it can.
func (f Fault) Possible(nodes []*Node) error {
	several := func() error {
		if len(nodes) < 2 {
			return fmt.Errorf("%s: needs two nodes", f)
		}
		return nil
	}
	each := func(what string, has func(*Node) bool) error {
		for _, n := range nodes {
			if !has(n) {
				return fmt.Errorf("%s: %s has no %s", f, n.Name, what)
			}
		}
		return nil
	}
	switch f {
	case KillLeader, KillAll, StopLeader, PauseLeader:
		return nil
	case KillFollower, PauseFollower:
		return several()
	case IsolateLeader, IsolateFollower, CutOneWay, CutPair, Flapping:
		return errors.Join(several(), each("Network", func(n *Node) bool { return n.Network != nil && n.Host != nil }))
	case SlowDisk, HungDisk:
		return each("Disk", func(n *Node) bool { return n.Disk != nil })
	case FullDisk:
		return each("Small disk", func(n *Node) bool { return n.Small != nil })
	case LostToken:
		return each("TokenDir", func(n *Node) bool { return n.TokenDir != "" })
	default:
		return fmt.Errorf("%q is no fault", string(f))
	}
}

// injection is a fault with its place.
type injection struct {
	nodes  []*Node
	inject func() error
	undo   func(ctx context.Context) error
}

// place decides where a fault happens. The choice depends on nothing but the numbers drawn and on who leads.
func (f Fault) place(rng *rand.Rand, nodes []*Node, leader *Node) injection {
	// Always the same number of draws, so that a schedule stays the same whoever leads.
	first, second := rng.IntN(len(nodes)), rng.IntN(max(1, len(nodes)-1))
	amount := rng.Float64()
	follower := nodes[first]
	if follower == leader && len(nodes) > 1 {
		follower = nodes[(first+1+second)%len(nodes)]
	}
	one, other := nodes[first], nodes[(first+1+second)%len(nodes)]
	switch f {
	case KillLeader:
		return kill(leader)
	case KillFollower:
		return kill(follower)
	case KillAll:
		return kill(nodes...)
	case StopLeader:
		return injection{[]*Node{leader}, func() error { return leader.Process.Stop(context.Background()) }, leader.Process.Start}
	case PauseLeader:
		return pause(leader)
	case PauseFollower:
		return pause(follower)
	case IsolateLeader:
		return isolate(leader)
	case IsolateFollower:
		return isolate(follower)
	case CutOneWay, CutPair:
		return injection{
			[]*Node{one, other},
			func() error { return one.Network.Partition(one.Host, other.Host, f == CutOneWay) },
			func(context.Context) error { return one.Network.Rejoin(one.Host, other.Host) },
		}
	case Flapping:
		period := shortestFlapping + time.Duration(amount*float64(time.Second))
		var stop func() error
		return injection{
			[]*Node{one},
			func() error { stop = one.Network.Flap(one.Host, period); return nil },
			func(context.Context) error { return stop() },
		}
	case SlowDisk:
		return disk(one, func() error { one.Disk.Slow(time.Duration(amount * float64(slowestSync))); return nil })
	case HungDisk:
		return disk(one, func() error { one.Disk.Hang(); return nil })
	case FullDisk:
		return injection{[]*Node{one}, one.Small.Fill, func(ctx context.Context) error {
			return errors.Join(one.Small.Free(), one.Process.Start(ctx))
		}}
	case LostToken:
		return injection{[]*Node{one}, func() error { return takeAway(one.TokenDir) }, func(ctx context.Context) error {
			return errors.Join(giveBack(one.TokenDir), one.Process.Start(ctx))
		}}
	default:
		return injection{inject: func() error { return fmt.Errorf("clustertest: %q is no fault", string(f)) }}
	}
}

func kill(nodes ...*Node) injection {
	return injection{
		nodes,
		func() error {
			var failed []error
			for _, n := range nodes {
				failed = append(failed, n.Process.Kill())
			}
			return errors.Join(failed...)
		},
		func(ctx context.Context) error {
			var failed []error
			for _, n := range nodes {
				failed = append(failed, n.Process.Launch())
			}
			for _, n := range nodes {
				failed = append(failed, n.Process.WaitReady(ctx))
			}
			return errors.Join(failed...)
		},
	}
}

func pause(n *Node) injection {
	return injection{[]*Node{n}, n.Process.Pause, func(context.Context) error { return n.Process.Resume() }}
}

func isolate(n *Node) injection {
	return injection{
		[]*Node{n},
		func() error { return n.Network.Isolate(n.Host) },
		func(context.Context) error { return n.Network.Reconnect(n.Host) },
	}
}

// disk is a fault of a disk. A node may end itself because of it; then its manager has started it again.
func disk(n *Node, inject func() error) injection {
	return injection{[]*Node{n}, inject, func(ctx context.Context) error {
		n.Disk.Heal()
		return n.Process.Start(ctx)
	}}
}

const away = ".away"

// takeAway and giveBack are the pulling of a token: its files are there under another name.
func takeAway(dir string) error { return os.Rename(dir, dir+away) }

func giveBack(dir string) error {
	if err := os.Rename(dir+away, dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
