package command

import "strconv"

// newest is the newest version of commands that this program writes and reads. It is a string so that a build can lower it with
// -ldflags "-X cryptoserve/cluster/command.newest=1", which is how upgrades are tested.
var newest = "2"

var newestVersion = parseVersion(newest)

func parseVersion(s string) uint32 {
	v, err := strconv.ParseUint(s, 10, 32)
	if err != nil || v == 0 {
		panic("command: the newest version must be a number above 0, not " + strconv.Quote(s)) // set by whoever built the program
	}
	return uint32(v)
}

// Newest returns the newest version of commands that this program knows. A cluster writes commands up to the version that was
// finalised, which every active member knows.
func Newest() uint32 { return newestVersion }

// since has the version of the types that are not of version 1.
var since = map[Type]uint32{
	TypeSetBackupSchedule: 2,
	TypeRecordBackup:      2,
}

// Since returns the version that a type of command belongs to: no cluster that is not finalised at it, or a later one, writes it.
func Since(t Type) uint32 {
	if v := since[t]; v != 0 {
		return v
	}
	return 1
}

// Needs returns the version that a command needs: its own, and that of the commands in it.
func Needs(c Command) (uint32, error) {
	v := Since(c.Type())
	n, ok := c.(nesting)
	if !ok {
		return v, nil
	}
	inside, err := n.Inner()
	if err != nil {
		return 0, err
	}
	w, err := Needs(inside)
	return max(v, w), err
}
