package cluster

import (
	"fmt"
	"io"

	"cryptoserve/engine/directory"
	"cryptoserve/engine/keys"
)

// maxProblems bounds what a report lists. It counts all.
const maxProblems = 100

// Report is what a rehearsal found.
type Report struct {
	Cluster string
	Index   uint64
	Term    uint64
	Digest  [32]byte // computed from the records that were read; to be compared with the manifest
	Records uint64
	Tables  []TableCount
	// Problems tells, by ids, what does not fit together: a restore would bring it along. Found is how many there are.
	Problems []string
	Found    int
}

// TableCount is how many records a table has.
type TableCount struct {
	Name    string
	Records uint64
}

// Rehearse reads a backup into a state of its own and looks at everything in it, without touching the node's. An error
// means that it cannot be restored; problems in the report, that something in it does not fit together.
func Rehearse(r io.Reader) (Report, error) {
	s, err := ReadBackup(r)
	if err != nil {
		return Report{}, err
	}
	return s.Report(), nil
}

// Report looks at everything in the state.
func (s *BackupState) Report() Report {
	r := Report{Cluster: s.Cluster, Index: s.Index, Term: s.Term, Digest: s.Digest, Records: s.Records}
	c := &checker{view: s.view, report: &r}
	for _, t := range tables {
		count := TableCount{Name: t.name}
		for record := range each(s.view.txn, t.name) {
			count.Records++
			c.record(record)
		}
		r.Tables = append(r.Tables, count)
	}
	switch cluster := s.view.Cluster(); {
	case cluster == nil:
		c.problem("there is no record of the cluster")
	case cluster.ID != s.Cluster:
		c.problem("the record of the cluster names %s, and the backup was made in %s", cluster.ID, s.Cluster)
	}
	return r
}

// checker looks at records, whose ids are no secrets.
type checker struct {
	view   *View
	report *Report
}

func (c *checker) problem(format string, args ...any) {
	if c.report.Found++; c.report.Found <= maxProblems {
		c.report.Problems = append(c.report.Problems, fmt.Sprintf(format, args...))
	}
}

// tenant returns the view of a tenant that must exist.
func (c *checker) tenant(id, what string) *TenantView {
	t := c.view.Tenant(id)
	if t.Record() == nil {
		c.problem("%s belongs to tenant %q, which does not exist", what, id)
	}
	return t
}

// record looks at one record: what it refers to must be there.
func (c *checker) record(record any) {
	switch r := record.(type) {
	case *directory.Context:
		c.context(r)
	case *keys.Object:
		c.object(r)
	case *keys.Version:
		c.version(r)
	case *directory.Application:
		t := c.tenant(r.Tenant, "application "+r.ID)
		for _, g := range r.Grants {
			if t.Context(g.Context) == nil {
				c.problem("application %s is granted context %s, which does not exist", r.ID, g.Context)
			}
		}
	case *directory.User:
		c.tenant(r.Tenant, "user "+r.ID)
	case *directory.Session:
		c.user(r.Tenant, r.User, "a session")
	case *directory.Device:
		if r.User != "" {
			c.user(r.Tenant, r.User, "a sign-in of a device")
		}
	case *directory.RefreshFamily:
		if a := c.view.Application(r.Application); a == nil || a.Tenant != r.Tenant {
			c.problem("refresh tokens %s belong to application %s, which does not exist", r.ID, r.Application)
		}
	case *keys.Import:
		c.valid(r.Validate())
		c.tenant(r.Tenant, "import "+r.ID)
	case *keys.LegacyMaster:
		if r.Tenant != "" { // of a tenant that was deleted, the number stays
			c.tenant(r.Tenant, fmt.Sprintf("imported master key %d", r.Number))
		}
	case *keys.LegacyKey:
		c.legacy(r)
	case *directory.Invitation:
		c.tenant(r.Tenant, "invitation "+r.ID)
	case *directory.Policy:
		c.tenant(r.Tenant, "policy "+r.Name)
	case *directory.Approval:
		c.tenant(r.Tenant, "approval "+r.ID)
	case *keys.Usage:
		if c.view.Tenant(r.Tenant).Version(r.Key) == nil {
			c.problem("usage is counted of key version %s, which does not exist", r.Key)
		}
	}
}

func (c *checker) valid(err error) {
	if err != nil {
		c.problem("%v", err)
	}
}

func (c *checker) user(tenant, id, what string) {
	if c.view.Tenant(tenant).User(id) == nil {
		c.problem("%s belongs to user %s, who does not exist", what, id)
	}
}

func (c *checker) context(r *directory.Context) {
	t := c.tenant(r.Tenant, "context "+r.Name)
	c.versions("context "+r.Name, r.ActiveKey, r.Versions, t.ContextVersions(r.Name))
}

func (c *checker) object(r *keys.Object) {
	c.valid(r.Validate())
	t := c.tenant(r.Tenant, "key "+r.Name)
	if t.Context(r.Context) == nil {
		c.problem("key %s of tenant %s is in context %s, which does not exist", r.Name, r.Tenant, r.Context)
	}
	c.versions("key "+r.Name, r.ActiveKey, r.Versions, t.ObjectVersions(r.Name))
}

// versions looks at the versions of a context or key: the one that protects is there, and their numbers are 1 to count.
func (c *checker) versions(of, active string, count uint32, versions []*keys.Version) {
	seen := map[uint32]bool{}
	named := false
	for _, v := range versions {
		named = named || v.ID == active
		if v.Number > count || seen[v.Number] {
			c.problem("%s has a version %d twice, or one more than it counts", of, v.Number)
		}
		seen[v.Number] = true
	}
	if !named {
		c.problem("%s protects with key version %s, which does not exist", of, active)
	}
	if uint64(len(versions)) != uint64(count) {
		c.problem("%s counts %d versions and has %d", of, count, len(versions))
	}
}

func (c *checker) version(v *keys.Version) {
	c.valid(v.Validate())
	t := c.tenant(v.Tenant, "key version "+v.ID)
	if t.Context(v.Context) == nil {
		c.problem("key version %s belongs to context %s, which does not exist", v.ID, v.Context)
	}
	if v.Object != "" && t.Object(v.Object) == nil {
		c.problem("key version %s belongs to key %s, which does not exist", v.ID, v.Object)
	}
}

func (c *checker) legacy(k *keys.LegacyKey) {
	c.valid(k.Validate())
	t := c.tenant(k.Tenant, "imported key version "+k.KeyID)
	if t.Context(k.Context) == nil {
		c.problem("imported key version %s belongs to context %s, which does not exist", k.KeyID, k.Context)
	}
	if first[keys.LegacyMaster](c.view.txn, tableMasters, indexID, masterKey(k.Master)) == nil {
		c.problem("imported key version %s is derived from master key %d, which does not exist", k.KeyID, k.Master)
	}
}
