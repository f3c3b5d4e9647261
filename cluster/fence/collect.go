package fence

import (
	"cmp"
	"slices"
	"sync"
)

// maxNodes bounds what a Collector keeps: far above the members of any cluster.
const maxNodes = 64

// Collector keeps the newest refresh of each node until the leader's next tick. The zero value is ready; goroutines may
// share it. Only refreshes of members that are not removed belong in it, under the id that their certificate shows: each
// tick that names a node makes mutations wait for it.
type Collector struct {
	mu     sync.Mutex
	newest map[string]Nonce
}

// Add keeps a refresh in place of an older one of the same node. It returns false when there are too many nodes.
func (c *Collector) Add(r Refresh) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.newest[r.Node]; !known && len(c.newest) == maxNodes {
		return false
	}
	if c.newest == nil {
		c.newest = map[string]Nonce{}
	}
	c.newest[r.Node] = r.Nonce
	return true
}

// Take returns what has come since the last Take, by node, and forgets it. It returns nil when there is nothing: then no
// tick is needed. What was taken for a tick that did not commit is lost, and the next refresh makes up for it.
func (c *Collector) Take() []Refresh {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.newest) == 0 {
		return nil
	}
	all := make([]Refresh, 0, len(c.newest))
	for node, nonce := range c.newest {
		all = append(all, Refresh{node, nonce})
	}
	clear(c.newest)
	slices.SortFunc(all, func(a, b Refresh) int { return cmp.Compare(a.Node, b.Node) })
	return all
}
