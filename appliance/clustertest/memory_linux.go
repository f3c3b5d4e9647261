package clustertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// form is a way to write a key.
type form struct {
	name string
	text []byte
}

// forms are the ways in which a key is looked for: also backwards, and in base64 wherever in a longer text it begins.
func forms(key []byte) []form {
	backwards := slices.Clone(key)
	slices.Reverse(backwards)
	lower := hex.EncodeToString(key)
	list := []form{{"raw", slices.Clone(key)}, {"reversed", backwards}, {"hex", []byte(lower)}, {"HEX", []byte(strings.ToUpper(lower))}}
	for before := range 3 {
		text := append(make([]byte, before), key...)
		for name, encoding := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			whole := []byte(encoding.EncodeToString(text))
			// Only characters whose six bits are all of the key.
			own := whole[(before*8+5)/6 : len(text)*8/6]
			if !slices.ContainsFunc(list, func(f form) bool { return bytes.Equal(f.text, own) }) {
				list = append(list, form{fmt.Sprintf("%s+%d", name, before), own})
			}
		}
	}
	return list
}

// hit is where a form begins.
type hit struct {
	form string
	at   int
}

func find(b []byte, list []form) (found []hit) {
	for _, f := range list {
		for from := 0; ; {
			i := bytes.Index(b[from:], f.text)
			if i < 0 {
				break
			}
			found = append(found, hit{f.name, from + i})
			from += i + 1
		}
	}
	return found
}

// memory is what a process had in all memory that it may write, but for pages that it never touched or that are all zero.
type memory struct {
	pid  int
	runs []pageRun
	size int
}

// pageRun is pages that follow each other, of one mapping.
type pageRun struct {
	begin   uint64
	mapping string // its name in /proc/PID/maps, empty if it has none
	data    []byte
}

// dumpMemory reads it. What changes meanwhile is seen before or after: stop the process first.
func dumpMemory(pid int) (*memory, error) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	maps, err := os.ReadFile(dir + "maps")
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(dir + "mem")
	if err != nil {
		return nil, fmt.Errorf("the memory of another process cannot be read: run the tests as root with CAP_SYS_PTRACE: %w", err)
	}
	defer func() { _ = mem.Close() }() // only read from
	pages, err := os.Open(dir + "pagemap")
	if err != nil {
		return nil, err
	}
	defer func() { _ = pages.Close() }() // only read from
	m := &memory{pid: pid}
	lines := bufio.NewScanner(bytes.NewReader(maps))
	for lines.Scan() {
		// proc_pid_maps(5): begin-end rights offset device inode name
		var begin, end uint64
		fields := strings.Fields(lines.Text())
		if _, err := fmt.Sscanf(fields[0], "%x-%x", &begin, &end); err != nil {
			return nil, err
		}
		if strings.HasPrefix(fields[1], "rw") {
			if err := m.add(mem, pages, begin, end, strings.Join(fields[5:], " ")); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// add reads the pages of a mapping that are there.
func (m *memory) add(mem, pages *os.File, begin, end uint64, name string) error {
	page := uint64(os.Getpagesize()) //nolint:gosec // G115: a small positive number
	entries := make([]byte, (end-begin)/page*8)
	if _, err := pages.ReadAt(entries, int64(begin/page*8)); err != nil { // #nosec G115 -- below 2^47
		return fmt.Errorf("pagemap: %w", err)
	}
	const thereOrSwapped = 3 << 62
	zero := make([]byte, page)
	var last *pageRun
	buffer := make([]byte, page)
	for at := begin; at < end; at += page {
		if binary.NativeEndian.Uint64(entries[(at-begin)/page*8:])&thereOrSwapped == 0 {
			last = nil
			continue
		}
		if _, err := mem.ReadAt(buffer, int64(at)); err != nil { // #nosec G115 -- below 2^47
			last = nil
			continue // of a device
		}
		if bytes.Equal(buffer, zero) {
			last = nil
			continue
		}
		if last == nil {
			m.runs = append(m.runs, pageRun{begin: at, mapping: name})
			last = &m.runs[len(m.runs)-1]
		}
		last.data = append(last.data, buffer...)
		m.size += len(buffer)
	}
	return nil
}

// place is where a form of a key is in a memory.
type place struct {
	form    string
	at      uint64
	mapping string
}

func (p place) String() string {
	if p.mapping == "" {
		return fmt.Sprintf("%s at %#x", p.form, p.at)
	}
	return fmt.Sprintf("%s at %#x in %s", p.form, p.at, p.mapping)
}

func (m *memory) find(list []form) (found []place) {
	for _, r := range m.runs {
		for _, h := range find(r.data, list) {
			found = append(found, place{h.form, r.begin + uint64(h.at), r.mapping}) // #nosec G115 -- an index
		}
	}
	return found
}

// heapSpan is more than the Go heap of a daemon spreads, and less than its distance from what the kernel places by itself.
const heapSpan = 64 << 30

// heap tells where the Go heap is: around the copy that Go's runtime makes of the environment, in which there is a planted text. The
// kernel's copy of it is in the mapping [stack].
func (m *memory) heap(planted []form) (uint64, error) {
	var base uint64
	for _, p := range m.find(planted) {
		switch {
		case p.mapping != "" && !strings.HasPrefix(p.mapping, "[anon: Go"):
		case base == 0:
			base = p.at
		case !within(base, p.at):
			return 0, fmt.Errorf("what was planted is in two regions without a name, %#x and %#x", base, p.at)
		}
	}
	if base == 0 {
		return 0, errors.New("what was planted is not in the Go heap")
	}
	return base, nil
}

func within(heap, at uint64) bool { return max(heap, at)-min(heap, at) < heapSpan }

// children are the processes that a process started, none when it does not run.
func children(parent int) (list []int) {
	if parent <= 0 {
		return nil // 0 is the parent of the machine's own first processes
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	for _, name := range stats {
		raw, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): pid (name) state ppid ...; the name may hold anything.
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			list = append(list, pid)
		}
	}
	return list
}
