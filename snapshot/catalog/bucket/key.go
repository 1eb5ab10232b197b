package bucket

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/medic/cht-backup/snapshot/catalog"
)

const (
	// rootKey is the object that makes a place a catalog.
	rootKey    = "cht-catalog.json"
	headsUnder = "v1/heads/"
	dataUnder  = "v1/data/"
	// cutForm of fixed width, so that keys sort by time.
	cutForm = "20060102T150405.000000Z"
	jsonEnd = ".json"

	recordFile  = "record.json.gz"
	secretsFile = "secrets.age"
	copyBegin   = "copy-"

	// longestKey is what S3, GCS and Azure all take, in bytes.
	longestKey = 1024
)

// Head is what a record's key tells: whose it is, without reading anything.
type Head struct {
	Namespace string
	// Name and UID of the Backup.
	Name string
	UID  types.UID
	// CutTime, to the microsecond.
	CutTime time.Time
}

// HeadOf gives the head of a record.
func HeadOf(r catalog.Record) Head {
	return Head{Namespace: r.Namespace, Name: r.Name, UID: r.UID, CutTime: r.CutTime.UTC().Truncate(time.Microsecond)}
}

// Key is the manifest's. Neither of its parts can hold the character between them:
// names of Kubernetes have no underscore.
func (h Head) Key() string {
	return headsUnder + h.Namespace + "/" + h.CutTime.UTC().Format(cutForm) + "_" + h.Name + "_" + string(h.UID) + jsonEnd
}

// Check refuses what makes no key, or one that reads as another's.
func (h Head) Check() error {
	again, err := ParseKey(h.Key())
	if err != nil {
		return err
	}
	if again != (Head{Namespace: h.Namespace, Name: h.Name, UID: h.UID, CutTime: h.CutTime.UTC()}) {
		return errors.New("its time has more than microseconds, or its name is none")
	}
	return nil
}

// ParseKey reads a head from its key. One that this program would have written
// otherwise is none.
func ParseKey(key string) (Head, error) {
	if len(key) > longestKey {
		return Head{}, fmt.Errorf("it has %d bytes", len(key))
	}
	rest, ok := strings.CutPrefix(key, headsUnder)
	if !ok {
		return Head{}, fmt.Errorf("it is not below %s", headsUnder)
	}
	namespace, rest, ok := strings.Cut(rest, "/")
	rest, json := strings.CutSuffix(rest, jsonEnd)
	parts := strings.Split(rest, "_")
	if !ok || !json || len(parts) != 3 {
		return Head{}, fmt.Errorf("it is not of the form %sNAMESPACE/TIME_NAME_UID%s", headsUnder, jsonEnd)
	}
	if err := catalog.CheckIdentity(namespace, parts[1], parts[2]); err != nil {
		return Head{}, err
	}
	cut, err := time.Parse(cutForm, parts[0])
	if err != nil {
		return Head{}, fmt.Errorf("%q is no time", parts[0])
	}
	h := Head{Namespace: namespace, Name: parts[1], UID: types.UID(parts[2]), CutTime: cut}
	if h.Key() != key {
		return Head{}, errors.New("it is not written as ours are")
	}
	return h, nil
}

func dataKey(uid types.UID, file string) string { return dataUnder + string(uid) + "/" + file }
