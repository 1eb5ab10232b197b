package node

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/crypto/blake2b"
	"golang.org/x/sys/unix"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// The journal of a filling: a line that says what it is of, then a line with the number
// of each file that is complete. A line is written when its file is on disk, under its own
// name, and is itself on disk before another is begun. So a line that can be read is
// true, whenever the machine stopped; only what has changed since must be looked for.
const journalName = "journal"

// journalHead names what a volume is filled with.
func journalHead(name string, files []tree.Meta, key tree.HashKey) string {
	h, err := blake2b.New256(key[:])
	if err != nil {
		panic(err) // a key of 32 bytes is never too long
	}
	_, _ = fmt.Fprintf(h, "%q\n", name)
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%q %d %o %d %d\n", f.Path, f.Size, f.Mode, f.UID, f.GID)
	}
	return "cht-fill 1 " + hex.EncodeToString(h.Sum(nil))
}

// errOtherFilling is the error of a volume that is half filled with something else.
var errOtherFilling = errors.New("the volume is half filled with another backup's files; delete the claim, and restore into a new one")

// openJournal opens the journal in a staging directory, and gives the files that it says
// are complete. fresh says that there was none.
func openJournal(stage int, head string, files int) (journal *os.File, done []int, fresh bool, err error) {
	fd, err := unix.Openat(stage, journalName, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, nil, false, fmt.Errorf("open the journal of the filling: %w", linked(err))
	}
	journal = os.NewFile(uintptr(fd), journalName)
	defer func() {
		if err != nil {
			_ = journal.Close()
		}
	}()
	r := bufio.NewReader(journal)
	first, err := r.ReadString('\n')
	if err != nil {
		// Empty, or cut off before it said anything.
		if err = journal.Truncate(0); err != nil {
			return nil, nil, false, err
		}
		return journal, nil, true, nil
	}
	if strings.TrimSuffix(first, "\n") != head {
		return nil, nil, false, errOtherFilling
	}
	good := int64(len(first))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break // the end, or a line that was cut off
		}
		n, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil || n < 0 || n >= files {
			return nil, nil, false, fmt.Errorf("the journal of the filling is damaged: it has %.40q; delete the claim, and restore into a new one", line)
		}
		done = append(done, n)
		good += int64(len(line))
	}
	return journal, done, false, journal.Truncate(good)
}

// write adds lines, and has them on disk.
func writeJournal(journal *os.File, lines ...string) error {
	_, err := journal.WriteString(strings.Join(lines, "\n") + "\n")
	if err = errors.Join(err, journal.Sync()); err != nil {
		return fmt.Errorf("write the journal of the filling: %w", full(err))
	}
	return nil
}
