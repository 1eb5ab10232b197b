package transfer

import (
	"fmt"
	"sync"
	"time"

	"github.com/medic/cht-backup/snapshot/file/tree"
)

// Progress is how far a transfer is.
type Progress struct {
	// Done and Total are bytes of the files, as they are on the volume.
	Done, Total int64
	// FilesDone of Files are complete.
	FilesDone, Files int
}

// meter counts, and tells of it.
type meter struct {
	tell func(Progress)

	lock sync.Mutex
	now  Progress
}

func newMeter(metas []tree.Meta, tell func(Progress)) *meter {
	m := &meter{tell: tell, now: Progress{Files: len(metas)}}
	for _, f := range metas {
		m.now.Total += f.Size
	}
	if m.tell == nil {
		m.tell = func(Progress) {}
	}
	m.tell(m.now)
	return m
}

func (m *meter) bytes(n int64) { m.add(n, 0) }

// file notes that a file is through.
func (m *meter) file() { m.add(0, 1) }

func (m *meter) add(bytes int64, files int) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.now.Done += bytes
	m.now.FilesDone += files
	m.tell(m.now)
}

// Text tells people of a progress that began a while ago at a number of bytes that was
// done already: "41 %, 812 MiB of 1.9 GiB, 95 MiB/s, 12s left".
func (p Progress) Text(at int64, since time.Duration) string {
	percent := 100
	if p.Total > 0 {
		percent = int(100 * float64(p.Done) / float64(p.Total))
	}
	text := fmt.Sprintf("%d %%, %s of %s", percent, size(p.Done), size(p.Total))
	moved := p.Done - at
	if since < time.Second || moved <= 0 {
		return text
	}
	perSecond := float64(moved) / since.Seconds()
	text += ", " + size(int64(perSecond)) + "/s"
	if left := p.Total - p.Done; left > 0 {
		text += fmt.Sprintf(", %s left", time.Duration(float64(left)/perSecond*float64(time.Second)).Round(time.Second))
	}
	return text
}

func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 1000 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if u == 0 || f >= 10 {
		return fmt.Sprintf("%.0f %s", f, units[u])
	}
	return fmt.Sprintf("%.1f %s", f, units[u])
}
