package cluster

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Layout of a bbolt file (go.etcd.io/bbolt/internal/common), in the byte order of the machine:
//
//	page      id(8) flags(2) count(2) overflow(4), then count elements of 16 bytes, then keys and values without gaps
//	branch    element: offset from the element to its key(4) key length(4) child page(8)
//	leaf      element: flags(4) offset to its key(4) key length(4) value length(4); flag 1 marks a bucket
//	bucket    value: root page(8) sequence(8); root page 0 means that one page follows in the value itself
//	meta      pages 0 and 1: magic(4) version(4) page size(4) flags(4) root bucket(16) freelist(8) pages(8)
//	          transaction(8) FNV-1a checksum(8) over what stands before
const (
	pageHeaderBytes  = 16
	elementBytes     = 16
	bucketBytes      = 16
	metaBytes        = 64
	metaMagic        = 0xed0cdaed
	metaVersion      = 2
	branchFlag       = 0x01
	leafFlag         = 0x02
	bucketFlag       = 0x01
	maxDepth         = 32
	minPageSizeBytes = 1 << 9
	maxPageSizeBytes = 1 << 16
)

var native = binary.NativeEndian

// pageCheck verifies the structure of raft.db before bbolt opens it. bbolt keeps checksums over its two meta pages only,
// and takes the older one without a word when the newer is damaged: the newest transaction would be gone. A damaged tree
// page makes it panic, partly in goroutines of its own where nobody can recover, or hides entries. What the entries say
// is not checked here: they carry authentication codes.
//
// Pages that no tree refers to are free, and not looked at.
type pageCheck struct {
	file     io.ReaderAt
	size     int64 // of the file
	pageSize int64
	pages    uint64          // all pages are below this number
	seen     map[uint64]bool // pages of the trees
}

// checkPages returns an error that names the first damaged page of the database file at path.
func checkPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c := &pageCheck{file: f, size: info.Size(), seen: map[uint64]bool{}}
	root, err := c.meta()
	if err != nil {
		return err
	}
	return c.buckets(root)
}

func damagedPage(id uint64, format string, args ...any) error {
	return damaged(fmt.Sprintf("page %d of raft.db", id), fmt.Sprintf(format, args...))
}

// meta checks both meta pages and returns the root page of the newest transaction.
func (c *pageCheck) meta() (root uint64, err error) {
	// The size of a page stands in the first meta page; when that is wrong the checksum is too.
	var head [pageHeaderBytes + metaBytes]byte
	if _, err := c.file.ReadAt(head[:], 0); err != nil {
		return 0, damagedPage(0, "it cannot be read: %v", err)
	}
	c.pageSize = int64(native.Uint32(head[pageHeaderBytes+8:]))
	if c.pageSize < minPageSizeBytes || c.pageSize > maxPageSizeBytes || c.pageSize&(c.pageSize-1) != 0 {
		return 0, damagedPage(0, "it names a page size of %d bytes", c.pageSize)
	}
	var newest uint64
	for id := range uint64(2) {
		if _, err := c.file.ReadAt(head[:], int64(id)*c.pageSize); err != nil {
			return 0, damagedPage(id, "it cannot be read: %v", err)
		}
		m := head[pageHeaderBytes:]
		sum := fnv.New64a()
		sum.Write(m[:metaBytes-8])
		txid := native.Uint64(m[48:])
		switch {
		case native.Uint32(m) != metaMagic || native.Uint32(m[4:]) != metaVersion:
			return 0, damagedPage(id, "it is not a meta page of this format")
		case native.Uint64(m[56:]) != sum.Sum64():
			return 0, damagedPage(id, "its checksum does not fit")
		case int64(native.Uint32(m[8:])) != c.pageSize || txid%2 != id || native.Uint64(head[:]) != id:
			return 0, damagedPage(id, "it is a meta page of another place")
		case id == 1 && txid != newest+1 && newest != txid+1:
			return 0, damagedPage(id, "it does not belong to the transaction next to that of page 0")
		}
		if id == 0 || txid > newest {
			newest, root, c.pages = txid, native.Uint64(m[16:]), native.Uint64(m[40:])
		}
	}
	if c.pages > uint64(c.size/c.pageSize) { //nolint:gosec // a file size is not negative
		return 0, damaged("raft.db", fmt.Sprintf("it is cut: %d bytes for %d pages of %d", c.size, c.pages, c.pageSize))
	}
	return root, nil
}

// buckets walks the root bucket, which holds the two buckets of raft-boltdb and nothing else.
func (c *pageCheck) buckets(root uint64) error {
	var names []string
	err := c.tree(root, nil, nil, 0, func(page uint64, flags uint32, key, value []byte) error {
		if flags != bucketFlag || len(value) < bucketBytes {
			return damagedPage(page, "it holds something other than a bucket")
		}
		names = append(names, string(key))
		id := native.Uint64(value)
		if id != 0 {
			if len(value) != bucketBytes {
				return damagedPage(page, "a bucket has %d bytes", len(value))
			}
			return c.tree(id, nil, nil, 0, plainValue)
		}
		_, err := c.elements(page, value[bucketBytes:], leafFlag, plainValue)
		return err
	})
	if err != nil {
		return err
	}
	if len(names) != 2 || names[0] != "conf" || names[1] != "logs" {
		return damagedPage(root, "it does not hold the buckets of a Raft log")
	}
	return nil
}

func plainValue(page uint64, flags uint32, _, _ []byte) error {
	if flags != 0 {
		return damagedPage(page, "it holds something other than values")
	}
	return nil
}

type visitLeaf func(page uint64, flags uint32, key, value []byte) error

// tree walks the tree below a page. Its keys are at least from, and below to; nil means no bound.
func (c *pageCheck) tree(id uint64, from, to []byte, depth int, visit visitLeaf) error {
	if depth > maxDepth {
		return damagedPage(id, "the tree is deeper than any that was written")
	}
	p, err := c.page(id)
	if err != nil {
		return err
	}
	bounded := func(key []byte) error {
		if bytes.Compare(key, from) < 0 || to != nil && bytes.Compare(key, to) >= 0 {
			return damagedPage(id, "a key is outside of the range of the page")
		}
		return nil
	}
	if native.Uint16(p[8:]) == leafFlag {
		n, err := c.elements(id, p, leafFlag, func(page uint64, flags uint32, key, value []byte) error {
			if err := bounded(key); err != nil {
				return err
			}
			return visit(page, flags, key, value)
		})
		if err == nil && n == 0 && depth > 0 {
			return damagedPage(id, "it is empty")
		}
		return err
	}
	type child struct {
		id  uint64
		key []byte
	}
	var children []child
	_, err = c.elements(id, p, branchFlag, func(_ uint64, _ uint32, key, value []byte) error {
		children = append(children, child{native.Uint64(value), key})
		return bounded(key)
	})
	if err != nil {
		return err
	}
	if len(children) == 0 {
		return damagedPage(id, "it is empty")
	}
	for i, ch := range children {
		next := to
		if i+1 < len(children) {
			next = children[i+1].key
		}
		if err := c.tree(ch.id, ch.key, next, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

// page reads a page of a tree with its overflow pages.
func (c *pageCheck) page(id uint64) ([]byte, error) {
	if id < 2 || id >= c.pages {
		return nil, damagedPage(id, "it is referred to and does not exist")
	}
	var header [pageHeaderBytes]byte
	at := int64(id) * c.pageSize //nolint:gosec // below c.pages, and so within the file
	if _, err := c.file.ReadAt(header[:], at); err != nil {
		return nil, damagedPage(id, "it cannot be read: %v", err)
	}
	flags, overflow := native.Uint16(header[8:]), uint64(native.Uint32(header[12:]))
	switch {
	case native.Uint64(header[:]) != id:
		return nil, damagedPage(id, "it says that it is page %d", native.Uint64(header[:]))
	case flags != branchFlag && flags != leafFlag:
		return nil, damagedPage(id, "it is of the unknown type %#x", flags)
	case overflow >= c.pages-id:
		return nil, damagedPage(id, "it is longer than the file")
	}
	for i := id; i <= id+overflow; i++ {
		if c.seen[i] {
			return nil, damagedPage(i, "it is used twice")
		}
		c.seen[i] = true
	}
	p := make([]byte, int64(overflow+1)*c.pageSize) //nolint:gosec // below c.pages, and so within the file
	if _, err := c.file.ReadAt(p, at); err != nil {
		return nil, damagedPage(id, "it cannot be read: %v", err)
	}
	return p, nil
}

// elements calls visit for each element of a page, whose flags must be as given, and returns how many there are. bbolt
// writes keys and values in the order of the elements and without gaps, which is what shows a wrong count: the first key
// begins where the elements end. For a branch the value is the number of the child page.
func (c *pageCheck) elements(id uint64, p []byte, flags uint16, visit visitLeaf) (int, error) {
	if len(p) < pageHeaderBytes || native.Uint16(p[8:]) != flags {
		return 0, damagedPage(id, "it is not of the type that its place demands")
	}
	count := int(native.Uint16(p[10:]))
	end := pageHeaderBytes + count*elementBytes
	var before []byte
	for i := range count {
		at := pageHeaderBytes + i*elementBytes
		if end > len(p) || at+elementBytes > len(p) {
			return 0, damagedPage(id, "its %d elements do not fit", count)
		}
		e := p[at : at+elementBytes]
		elementFlags, pos, keyLen, valueLen := native.Uint32(e), native.Uint32(e[4:]), native.Uint32(e[8:]), native.Uint32(e[12:])
		if flags == branchFlag {
			elementFlags, pos, keyLen, valueLen = 0, native.Uint32(e), native.Uint32(e[4:]), 0
		}
		if uint64(at)+uint64(pos) != uint64(end) || uint64(end)+uint64(keyLen)+uint64(valueLen) > uint64(len(p)) {
			return 0, damagedPage(id, "element %d does not begin where the one before ends", i)
		}
		key := p[end : end+int(keyLen)]
		value := p[end+int(keyLen) : end+int(keyLen)+int(valueLen)]
		end += int(keyLen) + int(valueLen)
		if flags == branchFlag {
			value = e[8:]
		}
		if i > 0 && bytes.Compare(before, key) >= 0 {
			return 0, damagedPage(id, "its keys are not in order")
		}
		before = key
		if err := visit(id, elementFlags, key, value); err != nil {
			return 0, err
		}
	}
	if c.pageSize > 0 && int64(len(p)) >= c.pageSize && int64(len(p))-int64(end) >= c.pageSize {
		return 0, damagedPage(id, "it is longer than its content")
	}
	return count, nil
}
