package ec2

import (
	"slices"
	"strings"
)

// zoneID is a zone's other name: us-east-1a is use1-az1. In AWS which is which differs
// by account.
func zoneID(zone string) string {
	if len(zone) < 2 {
		return ""
	}
	parts := strings.Split(zone[:len(zone)-1], "-")
	id := parts[0]
	for _, p := range parts[1:] {
		id += p[:1]
	}
	return id + "-az" + string('1'+zone[len(zone)-1]-'a')
}

func (c *Cloud) describeRegions(q *request, a *answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fs, err := q.filters(map[string]bool{"endpoint": true, "region-name": true, "opt-in-status": true})
	if err != nil {
		return err
	}
	names := q.list("RegionName")
	for _, n := range names {
		if c.regions[n] == nil {
			return fail("InvalidParameterValue", "Invalid region name: '%s'", n)
		}
	}
	endpoint := func(n string) string { return "ec2." + n + ".amazonaws.com" }
	var found []string
	for n := range c.regions {
		if (len(names) == 0 || slices.Contains(names, n)) && fs.match(func(name string) []string {
			return []string{map[string]string{"endpoint": endpoint(n), "region-name": n, "opt-in-status": "opt-in-not-required"}[name]}
		}, nil) {
			found = append(found, n)
		}
	}
	slices.Sort(found)
	list(a, "regionInfo", found, func(n string) {
		a.text("regionName", n)
		a.text("regionEndpoint", endpoint(n))
		a.text("optInStatus", "opt-in-not-required")
	})
	return nil
}

func (c *Cloud) describeZones(q *request, a *answer) error {
	fs, err := q.filters(map[string]bool{"region-name": true, "state": true, "zone-id": true, "zone-name": true, "zone-type": true, "opt-in-status": true})
	if err != nil {
		return err
	}
	names, ids := q.list("ZoneName"), q.list("ZoneId")
	for _, n := range names {
		if !slices.Contains(q.region.zones, n) {
			return fail("InvalidParameterValue", "Invalid availability zone: [%s]", n)
		}
	}
	zones := slices.DeleteFunc(slices.Clone(q.region.zones), func(z string) bool {
		return (len(names) > 0 && !slices.Contains(names, z)) || (len(ids) > 0 && !slices.Contains(ids, zoneID(z))) ||
			!fs.match(func(name string) []string {
				return []string{map[string]string{
					"region-name": q.region.name, "state": "available", "zone-id": zoneID(z), "zone-name": z, "zone-type": "availability-zone", "opt-in-status": "opt-in-not-required",
				}[name]}
			}, nil)
	})
	list(a, "availabilityZoneInfo", zones, func(z string) {
		a.text("zoneName", z)
		a.text("zoneId", zoneID(z))
		a.text("zoneState", "available")
		a.text("zoneType", "availability-zone")
		a.text("regionName", q.region.name)
		a.text("groupName", q.region.name)
		a.text("optInStatus", "opt-in-not-required")
	})
	return nil
}
