package backup

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func stored(at time.Time, n uint64) Stored {
	var random [8]byte
	binary.BigEndian.PutUint64(random[:], n)
	m := testManifest()
	m.ID, m.CreatedAt, m.Index, m.Authentic = NewID(at, random), at, n, true
	return Stored{Name: FileName(m.ID), Manifest: &m, Good: true}
}

const cluster = "cluster_0123456789abcdef"

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestPrune(t *testing.T) {
	for name, c := range map[string]struct {
		keep  Retention
		times []string // oldest first
		gone  []int
	}{
		"nothing set keeps all": {Retention{}, []string{"2026-01-01 00:00", "2026-01-02 00:00"}, nil},
		"nothing there":         {Retention{Newest: 1}, nil, nil},
		"the newest two": {
			Retention{Newest: 2}, []string{"2026-01-01 00:00", "2026-01-02 00:00", "2026-01-02 00:00", "2026-01-02 01:00"},
			[]int{0, 1},
		},
		"two days": {
			Retention{Daily: 2}, []string{"2026-01-01 10:00", "2026-01-02 08:00", "2026-01-02 09:00", "2026-01-05 00:00", "2026-01-05 23:59"},
			[]int{0, 1, 3},
		},
		"weeks are ISO weeks": {
			Retention{Weekly: 2}, []string{"2025-12-28 12:00", "2025-12-29 12:00", "2026-01-04 12:00", "2026-01-05 12:00"},
			[]int{0, 1},
		},
		"months": {
			Retention{Monthly: 2}, []string{"2025-12-31 23:59", "2026-01-01 00:00", "2026-01-31 00:00", "2026-02-01 00:00"},
			[]int{0, 1},
		},
		"together": {Retention{Newest: 1, Daily: 2, Monthly: 3}, []string{
			"2025-10-01 00:00", "2025-11-02 00:00", "2025-11-30 00:00",
			"2025-12-24 00:00", "2026-01-02 00:00", "2026-01-03 00:00", "2026-01-03 01:00",
		}, []int{0, 1, 5}},
		"a negative number keeps none but the newest": {Retention{Newest: -1}, []string{"2026-01-01 00:00", "2026-01-02 00:00"}, []int{0}},
	} {
		t.Run(name, func(t *testing.T) {
			var list []Stored
			for i, text := range c.times {
				list = append(list, stored(at(text), uint64(i)))
			}
			var want []string
			for _, i := range c.gone {
				want = append(want, list[i].Name)
			}
			slices.Reverse(list) // the order of the list means nothing
			if got := Prune(cluster, list, c.keep); !slices.Equal(got, want) {
				t.Errorf("deletes %v, not %v", got, want)
			}
		})
	}
}

func TestPruneLeavesWhatItDoesNotKnow(t *testing.T) {
	base := at("2026-01-01 00:00")
	bad, unread, foreign, claimed, renamed := stored(base, 1), stored(base, 2), stored(base, 3), stored(base, 4), stored(base, 5)
	bad.Good = false
	unread.Manifest = nil
	foreign.Manifest.Cluster = "cluster_of_others"
	claimed.Manifest.Authentic = false
	renamed.Name = FileName(NewID(base, [8]byte{77}))
	old, newest := stored(base.Add(time.Hour), 6), stored(base.Add(2*time.Hour), 7)
	list := []Stored{bad, unread, foreign, claimed, renamed, old, newest}
	if got := Prune(cluster, list, Retention{Newest: 1}); !slices.Equal(got, []string{old.Name}) {
		t.Fatalf("deletes %v", got)
	}
	// Newer ones that are no good do not push out the last good one.
	bad.Manifest.CreatedAt = base.Add(9 * time.Hour)
	if got := Prune(cluster, []Stored{old, bad, unread}, Retention{Newest: 1}); len(got) != 0 {
		t.Fatalf("deletes %v", got)
	}
	// A clock that was wrong: what is furthest in the log is kept as well.
	wrong := stored(base.Add(-time.Hour), 99)
	for _, keep := range []Retention{{Newest: 1}, {Newest: -1}} {
		if got := Prune(cluster, []Stored{old, wrong, newest}, keep); !slices.Equal(got, []string{old.Name}) {
			t.Fatalf("%+v deletes %v", keep, got)
		}
	}
}

// TestPruneProperties: the newest good one stays, nothing is named that is not in the list, and doing it again deletes nothing.
func TestPruneProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "n")
		list := make([]Stored, n)
		for i := range list {
			hours := rapid.IntRange(0, 4000).Draw(t, "hours")
			list[i] = stored(at("2026-01-01 00:00").Add(time.Duration(hours)*time.Hour), uint64(i))
			list[i].Good = rapid.Bool().Draw(t, "good")
		}
		keep := Retention{
			Newest: rapid.IntRange(-1, 5).Draw(t, "newest"), Daily: rapid.IntRange(0, 5).Draw(t, "daily"),
			Weekly: rapid.IntRange(0, 5).Draw(t, "weekly"), Monthly: rapid.IntRange(0, 5).Draw(t, "monthly"),
		}
		gone := Prune(cluster, list, keep)
		var newest *Stored
		var rest []Stored
		good := 0
		for i, s := range list {
			if s.Good && (newest == nil || s.Manifest.CreatedAt.After(newest.Manifest.CreatedAt)) {
				newest = &list[i]
			}
			if s.Good {
				good++
			}
			if slices.Contains(gone, s.Name) {
				if !s.Good {
					t.Fatal("one that is no good is deleted")
				}
				continue
			}
			rest = append(rest, s)
		}
		if len(rest)+len(gone) != n {
			t.Fatal("a name that is not in the list")
		}
		if newest != nil && !slices.ContainsFunc(rest, func(s Stored) bool {
			return s.Good && s.Manifest.CreatedAt.Equal(newest.Manifest.CreatedAt)
		}) {
			t.Fatal("the newest good one is deleted")
		}
		if good-len(gone) < min(good, keep.Newest) {
			t.Fatalf("%d good ones are left", good-len(gone))
		}
		if again := Prune(cluster, rest, keep); len(again) != 0 {
			t.Fatalf("the second time deletes %v", again)
		}
	})
}
