package backup

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Retention says which backups are kept: the newest ones, and the newest one of each of so many days, weeks (ISO 8601) and
// months in UTC that have one. All zero keeps everything.
type Retention struct {
	Newest  int
	Daily   int
	Weekly  int
	Monthly int
}

// Stored is a backup in a target, by its name and what could be learned of it. Manifest is nil when it could not be read.
// Good means that it was proved under the key and that no rehearsal of it failed.
type Stored struct {
	Name     string
	Manifest *Manifest
	Good     bool
}

// Prune returns the names of the backups that may be deleted, oldest first. It counts, and names, only good ones of this
// cluster: one that cannot be read, or is of another cluster, may be all that somebody has. The newest good one is kept
// whatever the retention says, by time and by place in the log, which differ when a clock was wrong.
func Prune(cluster string, list []Stored, keep Retention) []string {
	if keep == (Retention{}) {
		return nil
	}
	var good []Stored
	for _, s := range list {
		if s.Good && s.Manifest != nil && s.Manifest.Authentic && s.Manifest.Cluster == cluster && IDOf(s.Name) == s.Manifest.ID {
			good = append(good, s)
		}
	}
	if len(good) == 0 {
		return nil
	}
	slices.SortFunc(good, func(a, b Stored) int { // newest first
		return cmp.Or(b.Manifest.CreatedAt.Compare(a.Manifest.CreatedAt), cmp.Compare(b.Manifest.Index, a.Manifest.Index),
			cmp.Compare(b.Name, a.Name))
	})
	furthest := slices.MaxFunc(good, func(a, b Stored) int {
		return cmp.Or(cmp.Compare(a.Manifest.Term, b.Manifest.Term), cmp.Compare(a.Manifest.Index, b.Manifest.Index))
	})
	kept := map[string]bool{good[0].Name: true, furthest.Name: true}
	keepNewestOf(kept, good, keep.Newest, func(s Stored) string { return s.Name })
	keepNewestOf(kept, good, keep.Daily, dated(func(t time.Time) string { return t.Format(time.DateOnly) }))
	keepNewestOf(kept, good, keep.Weekly, dated(func(t time.Time) string {
		year, week := t.ISOWeek()
		return fmt.Sprint(year, "-", week)
	}))
	keepNewestOf(kept, good, keep.Monthly, dated(func(t time.Time) string { return t.Format("2006-01") }))
	var gone []string
	for _, s := range slices.Backward(good) {
		if !kept[s.Name] {
			gone = append(gone, s.Name)
		}
	}
	return gone
}

func dated(period func(time.Time) string) func(Stored) string {
	return func(s Stored) string { return period(s.Manifest.CreatedAt) }
}

// keepNewestOf keeps the first, which is the newest, of each of the first n periods.
func keepNewestOf(kept map[string]bool, newestFirst []Stored, n int, period func(Stored) string) {
	seen := map[string]bool{}
	for _, s := range newestFirst {
		p := period(s)
		if seen[p] {
			continue
		}
		if len(seen) >= n {
			return
		}
		seen[p], kept[s.Name] = true, true
	}
}
