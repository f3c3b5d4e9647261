package audit

import (
	"bytes"
	"math"
	"strconv"
)

// MaxItems is how many items one record may have.
const MaxItems = 1000

const (
	// maxItemWord bounds an item's code and its cause, maxItemKey its key id: in bytes of the line, without the quotes.
	maxItemWord = 64
	maxItemKey  = 128

	// maxDigits is the length of the largest size: 2^63-1.
	maxDigits = 19

	itemsStart = `,"items":[`
	// maxItem bounds one item and the comma after it: [IN,OUT,"CODE","CAUSE","KEY_ID"],
	maxItem = len(`[,,"","",""],`) + 2*maxDigits + 2*maxItemWord + maxItemKey
	// maxItems bounds the whole member: a bracket stands in place of the last comma.
	maxItems = len(itemsStart) + MaxItems*maxItem
)

// itemText bounds the strings of an item, in their order: code, cause, key id.
var itemText = [...]int{maxItemWord, maxItemWord, maxItemKey}

// appendItems appends the member of a batch's items. Empty strings at the end of an item are left out, and so is a key id
// that is the record's own, which stands in the line as keyID.
func appendItems(b []byte, r *Record, keyID []byte) []byte {
	if len(r.Items) == 0 {
		return b
	}
	b = append(b, itemsStart...)
	for i := range r.Items {
		item := &r.Items[i]
		b = append(b, '[')
		b = strconv.AppendInt(b, max(int64(item.In), 0), 10)
		b = append(b, ',')
		b = strconv.AppendInt(b, max(int64(item.Out), 0), 10)
		own := item.KeyID
		if own == r.KeyID {
			own = ""
		}
		if item.Code != "" || item.Cause != "" || own != "" {
			b = appendItemText(b, [...]string{item.Code, item.Cause, own}, keyID)
		}
		b = append(b, "],"...)
	}
	b[len(b)-1] = ']'
	return b
}

// appendItemText appends the strings of an item up to the last that says something. Two key ids may differ only in what is
// not shown; the line says so once.
func appendItemText(b []byte, text [len(itemText)]string, keyID []byte) []byte {
	end := len(b)
	for i, s := range text {
		b = append(b, ',')
		start := len(b)
		b = appendString(b, s, itemText[i])
		if s != "" && (i < len(itemText)-1 || !bytes.Equal(unquoted(b[start:]), keyID)) {
			end = len(b)
		}
	}
	return b[:end]
}

// unquoted returns what stands between the quotes.
func unquoted(b []byte) []byte { return b[1 : len(b)-1] }

// items reads the items of a batch from behind the colon.
func (c *cursor) items(l *line) {
	c.literal(`[`)
	for !c.stopped() {
		c.item(l.keyID)
		l.items++
		if !c.comma() {
			break
		}
		if l.items == MaxItems {
			c.fail()
		}
	}
	c.literal(`]`)
}

// item reads one item in the one form that appendItems gives it, in a line whose own key id is keyID.
func (c *cursor) item(keyID []byte) {
	c.literal(`[`)
	c.size()
	c.literal(`,`)
	c.size()
	var text []byte
	n := 0
	for n < len(itemText) && c.comma() {
		text = c.text(itemText[n])
		n++
	}
	switch {
	case n > 0 && len(text) == 0:
		c.fail()
	case n == len(itemText) && bytes.Equal(text, keyID):
		c.fail()
	}
	c.literal(`]`)
}

// comma reads a comma and reports whether it was there.
func (c *cursor) comma() bool {
	ch, ok := c.peek()
	if !ok || ch != ',' {
		return false
	}
	c.i++
	return true
}

// size reads a number that fits in an int of 64 bits, as all sizes do.
func (c *cursor) size() uint64 { return c.numberUpTo(math.MaxInt64) }
