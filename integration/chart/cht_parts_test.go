package chart

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// named gives the chart's object of a type and name.
func named[T client.Object](t *testing.T, r *Rendered, o T, name string) T {
	t.Helper()
	o.SetName(name)
	return typed(t, r, o)
}

// platformValues are the least that each platform needs.
var platformValues = map[string]string{
	"k3s": "{}", "k3d": "{}", "vsphere": "{}", "other": "{}",
	"eks": "{host: cht.example.org, eks: {certificateArn: 'arn:aws:acm:eu-west-2:123456789012:certificate/1', groupName: group, tags: 'A=b'}}",
	"gke": "{host: cht.example.org, gke: {staticIpName: ip, managedCertificateName: cert}}",
}

// TestEveryPlatformAndTopology: all of it is of types that Kubernetes knows, in the
// release's namespace, and nothing but PersistentVolumes is the cluster's.
func TestEveryPlatformAndTopology(t *testing.T) {
	for platform, ingress := range platformValues {
		for _, nodes := range []int{1, 3} {
			for _, way := range []string{"ingress", "nginx", "none"} {
				values := chtValues(t, fmt.Sprintf("{platform: %s, couchdb: {nodes: %d}, networkPolicy: {enabled: true}, ingress: %s, cht-backup: {enabled: false}}", platform, nodes, ingress))
				values["ingress"].(map[string]any)["type"] = way
				r, err := Render(chtFolder, values, Release{Name: "cht", Namespace: "clinic"})
				if err != nil {
					t.Fatalf("%s, %d nodes, %s: %v", platform, nodes, way, err)
				}
				seen := map[string]bool{}
				for _, o := range r.Objects {
					id := o.GetKind() + "/" + o.GetName()
					if seen[id] {
						t.Errorf("%s: %s is made twice", platform, id)
					}
					seen[id] = true
					if o.GetNamespace() != "clinic" {
						t.Errorf("%s: %s is in namespace %q", platform, id, o.GetNamespace())
					}
					if o.GetLabels()["app.kubernetes.io/instance"] != "cht" {
						t.Errorf("%s: %s has labels %v", platform, id, o.GetLabels())
					}
				}
				if strings.Contains(fmt.Sprint(seen), "Ingress/") != (way == "ingress") || seen["Deployment/cht-nginx"] != (way == "nginx") {
					t.Errorf("%s: way in is %s and there are %v", platform, way, seen)
				}
			}
		}
	}
}

func TestIngress(t *testing.T) {
	for platform, want := range map[string]struct {
		class       string
		annotations map[string]string
	}{
		"k3s": {"", nil}, "other": {"", nil},
		"eks": {"alb", map[string]string{"alb.ingress.kubernetes.io/scheme": "internet-facing", "alb.ingress.kubernetes.io/tags": "A=b",
			"alb.ingress.kubernetes.io/group.name": "group", "alb.ingress.kubernetes.io/ssl-redirect": "443", "alb.ingress.kubernetes.io/target-type": "ip",
			"alb.ingress.kubernetes.io/healthcheck-port": "traffic-port", "alb.ingress.kubernetes.io/listen-ports": `[{"HTTP": 80}, {"HTTPS": 443}]`,
			"alb.ingress.kubernetes.io/certificate-arn": "arn:aws:acm:eu-west-2:123456789012:certificate/1"}},
		"gke": {"", map[string]string{"kubernetes.io/ingress.global-static-ip-name": "ip", "networking.gke.io/managed-certificates": "cert", "kubernetes.io/ingress.class": "gce"}},
	} {
		in := named(t, renderCHT(t, fmt.Sprintf("{platform: %s, ingress: %s}", platform, platformValues[platform])), &networkingv1.Ingress{}, "api-ingress")
		class := ""
		if in.Spec.IngressClassName != nil {
			class = *in.Spec.IngressClassName
		}
		if class != want.class || (len(want.annotations)+len(in.Annotations) > 0 && !reflect.DeepEqual(in.Annotations, want.annotations)) {
			t.Errorf("%s: class %q, annotations %v", platform, class, in.Annotations)
		}
	}
	in := named(t, renderCHT(t, "{platform: eks, ingress: {className: own, host: a.example.org, tls: {secretName: tls}, eks: {scheme: internal, discoverCertificate: true}, annotations: {alb.ingress.kubernetes.io/target-type: instance, x: why}}}"), &networkingv1.Ingress{}, "api-ingress")
	if *in.Spec.IngressClassName != "own" || in.Annotations["alb.ingress.kubernetes.io/target-type"] != "instance" || in.Annotations["x"] != "why" || in.Annotations["alb.ingress.kubernetes.io/scheme"] != "internal" || in.Annotations["alb.ingress.kubernetes.io/certificate-arn"] != "" {
		t.Errorf("own settings come out as %v, class %s", in.Annotations, *in.Spec.IngressClassName)
	}
	if len(in.Spec.TLS) != 1 || in.Spec.TLS[0].SecretName != "tls" || in.Spec.TLS[0].Hosts[0] != "a.example.org" || in.Spec.Rules[0].Host != "a.example.org" {
		t.Errorf("certificate and host come out as %+v", in.Spec)
	}
	in = named(t, renderCHT(t, "{platform: gke, ingress: {className: gce-internal}}"), &networkingv1.Ingress{}, "api-ingress")
	if in.Annotations["kubernetes.io/ingress.class"] != "" {
		t.Error("an ingress has class and annotation, which the API server refuses")
	}
}

func TestStorageClass(t *testing.T) {
	for values, want := range map[string]string{
		"platform: k3s": "local-path", "platform: k3d": "local-path", "platform: gke": "standard-rwo", "platform: vsphere": "", "platform: other": "",
		"{platform: k3s, couchdb: {storage: {className: longhorn}}}": "longhorn",
	} {
		c := named(t, renderCHT(t, values), &corev1.PersistentVolumeClaim{}, "couchdb-claim0")
		got := ""
		if c.Spec.StorageClassName != nil {
			got = *c.Spec.StorageClassName
		}
		if got != want || c.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: class %q, annotations %v", values, got, c.Annotations)
		}
	}
}

func TestExistingVolumes(t *testing.T) {
	for values, want := range map[string]corev1.PersistentVolumeSource{
		"ebs: {volumeId: vol-01234567, partition: '1', fsType: xfs}":                      {CSI: &corev1.CSIPersistentVolumeSource{Driver: "ebs.csi.aws.com", VolumeHandle: "vol-01234567", FSType: "xfs", VolumeAttributes: map[string]string{"partition": "1"}}},
		"awsElasticBlockStore: {volumeId: 'aws://eu-west-2a/vol-01234567', partition: 2}": {AWSElasticBlockStore: &corev1.AWSElasticBlockStoreVolumeSource{VolumeID: "aws://eu-west-2a/vol-01234567", FSType: "ext4", Partition: 2}},
		"gcePd: {volumeHandle: projects/p/zones/z/disks/d}":                               {CSI: &corev1.CSIPersistentVolumeSource{Driver: "pd.csi.storage.gke.io", VolumeHandle: "projects/p/zones/z/disks/d", FSType: "ext4"}},
		"gcePd: {volumeHandle: projects/p/zones/z/disks/d, partition: 1}":                 {CSI: &corev1.CSIPersistentVolumeSource{Driver: "pd.csi.storage.gke.io", VolumeHandle: "projects/p/zones/z/disks/d", FSType: "ext4", VolumeAttributes: map[string]string{"partition": "1"}}},
		"gcePersistentDisk: {pdName: disk, partition: '1'}":                               {GCEPersistentDisk: &corev1.GCEPersistentDiskVolumeSource{PDName: "disk", FSType: "ext4", Partition: 1}},
		"vsphere: {volumeHandle: 6f0a1e}":                                                 {CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.vsphere.vmware.com", VolumeHandle: "6f0a1e", FSType: "ext4"}},
		"vsphereVolume: {volumePath: '[store] cht/couchdb'}":                              {VsphereVolume: &corev1.VsphereVirtualDiskVolumeSource{VolumePath: "[store] cht/couchdb", FSType: "ext4"}},
		"hostPath: {path: /srv/couchdb}":                                                  {HostPath: &corev1.HostPathVolumeSource{Path: "/srv/couchdb", Type: ptr(corev1.HostPathDirectoryOrCreate)}},
	} {
		r := renderCHT(t, "couchdb: {existingVolumes: [{"+values+"}]}")
		v := named(t, r, &corev1.PersistentVolume{}, "couchdb-pv-clinic")
		if !reflect.DeepEqual(v.Spec.PersistentVolumeSource, want) || v.Spec.NodeAffinity != nil || v.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain || v.Annotations["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s: %+v", values, v.Spec)
		}
		if c := named(t, r, &corev1.PersistentVolumeClaim{}, "couchdb-claim0"); c.Spec.VolumeName != "couchdb-pv-clinic" || *c.Spec.StorageClassName != "" {
			t.Errorf("%s: claim %+v", values, c.Spec)
		}
	}
	r := renderCHT(t, "couchdb: {existingVolumes: [{local: {path: /srv}, nodeName: node-a, zone: z1, size: 7Gi, storageClassName: local-storage}]}")
	v := named(t, r, &corev1.PersistentVolume{}, "couchdb-pv-clinic")
	terms := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions
	if v.Spec.Local.Path != "/srv" || terms[0].Values[0] != "node-a" || terms[1].Values[0] != "z1" || v.Spec.StorageClassName != "local-storage" || v.Spec.Capacity.Storage().String() != "7Gi" {
		t.Errorf("a local volume is %+v", v.Spec)
	}
	if c := named(t, r, &corev1.PersistentVolumeClaim{}, "couchdb-claim0"); *c.Spec.StorageClassName != "local-storage" || c.Spec.Resources.Requests.Storage().String() != "7Gi" {
		t.Errorf("its claim is %+v", c.Spec)
	}
	r = renderCHT(t, "couchdb: {nodes: 2, existingVolumes: [{claim: mine}, {ebs: {volumeId: vol-01234567}}]}")
	if r.Find("PersistentVolumeClaim", "couchdb-1-claim0") != nil || r.Find("PersistentVolume", "couchdb-pv-clinic-1") != nil || r.Find("PersistentVolume", "couchdb-pv-clinic-2") == nil {
		t.Error("a claim that is there is made once more, or the other volume is not")
	}
	if d := named(t, r, &appsv1.Deployment{}, "cht-couchdb-1"); d.Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName != "mine" || d.Spec.Template.Spec.Volumes[0].Name != "couchdb-1-claim0" {
		t.Errorf("the pod has volume %+v", d.Spec.Template.Spec.Volumes[0])
	}
}

func ptr[T any](v T) *T { return &v }

func TestWhereNodesRun(t *testing.T) {
	r := renderCHT(t, `
couchdb:
  nodes: 3
  nodeSelector: {pool: couchdb}
  tolerations: [{key: couchdb, operator: Exists}]
  priorityClassName: high
  perNode: [{nodeName: node-a}, {nodeSelector: {x: why}, tolerations: [{key: own}], dataSubPath: "other/%d"}]`)
	specs := make([]corev1.PodSpec, 3)
	for i := range specs {
		specs[i] = named(t, r, &appsv1.Deployment{}, fmt.Sprintf("cht-couchdb-%d", i+1)).Spec.Template.Spec
		if specs[i].PriorityClassName != "high" {
			t.Errorf("node %d has priority %q", i+1, specs[i].PriorityClassName)
		}
	}
	if !reflect.DeepEqual(specs[0].NodeSelector, map[string]string{"pool": "couchdb", "kubernetes.io/hostname": "node-a"}) || specs[0].Tolerations[0].Key != "couchdb" ||
		!reflect.DeepEqual(specs[1].NodeSelector, map[string]string{"x": "why"}) || specs[1].Tolerations[0].Key != "own" ||
		!reflect.DeepEqual(specs[2].NodeSelector, map[string]string{"pool": "couchdb"}) {
		t.Errorf("nodes run on %v %v %v", specs[0].NodeSelector, specs[1].NodeSelector, specs[2].NodeSelector)
	}
	if specs[1].Containers[0].VolumeMounts[0].SubPath != "other/2" || specs[2].Containers[0].VolumeMounts[0].SubPath != "data" {
		t.Errorf("data of nodes 2 and 3 in %q and %q", specs[1].Containers[0].VolumeMounts[0].SubPath, specs[2].Containers[0].VolumeMounts[0].SubPath)
	}
}

func TestSpread(t *testing.T) {
	affinity := func(values string) *corev1.Affinity {
		return named(t, renderCHT(t, values), &appsv1.Deployment{}, "cht-couchdb-2").Spec.Template.Spec.Affinity
	}
	soft := affinity("couchdb: {nodes: 2}").PodAntiAffinity
	if len(soft.PreferredDuringSchedulingIgnoredDuringExecution) != 1 || len(soft.RequiredDuringSchedulingIgnoredDuringExecution) != 0 {
		t.Errorf("by default %+v", soft)
	}
	term := soft.PreferredDuringSchedulingIgnoredDuringExecution[0].PodAffinityTerm
	if selector, err := metav1.LabelSelectorAsSelector(term.LabelSelector); err != nil || !selector.Matches(labelsOf("couchdb-1")) || selector.Matches(labelsOf("api")) {
		t.Errorf("keeps apart from %v", term.LabelSelector)
	}
	if hard := affinity("couchdb: {nodes: 2, spread: required, spreadOver: zone}").PodAntiAffinity; hard.RequiredDuringSchedulingIgnoredDuringExecution[0].TopologyKey != "zone" {
		t.Errorf("required: %+v", hard)
	}
	if a := affinity("couchdb: {nodes: 2, spread: none}"); a != nil {
		t.Errorf("none: %+v", a)
	}
	if a := affinity("couchdb: {nodes: 2, affinity: {nodeAffinity: {}}}"); a.NodeAffinity == nil || a.PodAntiAffinity != nil {
		t.Errorf("own: %+v", a)
	}
	if d := named(t, renderCHT(t, ""), &appsv1.Deployment{}, "cht-couchdb"); d.Spec.Template.Spec.Affinity != nil {
		t.Error("a single node keeps apart from itself")
	}
}

func TestDisruptions(t *testing.T) {
	b := named(t, renderCHT(t, "couchdb: {nodes: 3}"), &policyv1.PodDisruptionBudget{}, "cht-couchdb")
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil || b.Spec.MaxUnavailable.IntValue() != 1 || !selector.Matches(labelsOf("couchdb-3")) || selector.Matches(labelsOf("haproxy")) {
		t.Errorf("budget %+v, %v", b.Spec, err)
	}
	web := named(t, renderCHT(t, "{ingress: {type: nginx}, nginx: {replicas: 2}}"), &policyv1.PodDisruptionBudget{}, "cht-nginx")
	if web.Spec.MaxUnavailable.IntValue() != 1 || web.Spec.Selector.MatchLabels["cht.service"] != "nginx" {
		t.Errorf("nginx' budget %+v", web.Spec)
	}
	for _, o := range renderCHT(t, "ingress: {type: nginx}").Objects {
		if o.GetKind() == "PodDisruptionBudget" {
			t.Errorf("%s holds up the draining of a machine for ever", o.GetName())
		}
	}
}

// TestPodsAreTight: no token but the upgrade service's, no capability that is not asked
// for, requests everywhere, and the password in no spec.
func TestPodsAreTight(t *testing.T) {
	r := renderCHT(t, "{couchdb: {nodes: 3}, ingress: {type: nginx}, credentials: {password: topsecret}, imagePullSecrets: [{name: pull}], cht-backup: {enabled: false}}")
	for _, o := range r.Objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		d := named(t, r, &appsv1.Deployment{}, o.GetName())
		spec := d.Spec.Template.Spec
		if token := spec.AutomountServiceAccountToken; token == nil || *token != (o.GetName() == "upgrade-service") {
			t.Errorf("%s: token %v", o.GetName(), token)
		}
		if len(spec.ImagePullSecrets) != 1 || spec.SecurityContext == nil || spec.SecurityContext.SeccompProfile == nil {
			t.Errorf("%s: pull secrets %v, security context %+v", o.GetName(), spec.ImagePullSecrets, spec.SecurityContext)
		}
		for _, c := range spec.Containers {
			s := c.SecurityContext
			if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || s.Capabilities == nil || len(s.Capabilities.Drop) != 1 || s.Capabilities.Drop[0] != "ALL" {
				t.Errorf("%s/%s: security context %+v", o.GetName(), c.Name, s)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
				t.Errorf("%s/%s requests %v", o.GetName(), c.Name, c.Resources.Requests)
			}
		}
		raw, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "topsecret") {
			t.Errorf("%s has the password in its spec", o.GetName())
		}
	}
	for name, text := range r.Files {
		if !strings.HasSuffix(name, "/credentials.yaml") && strings.Contains(text, "topsecret") {
			t.Errorf("%s has the password", name)
		}
	}
}

func TestOwnSettingsOfAComponent(t *testing.T) {
	r := renderCHT(t, `
api: {args: [api], command: [run], buildsUrl: "https://builds.example.org", env: [{name: A, value: b}], podAnnotations: {a: b}, podLabels: {l: m}, affinity: {nodeAffinity: {}}, topologySpreadConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}], service: {type: NodePort}}
sentinel: {env: [{name: A, value: b}]}
haproxy: {env: [{name: A, value: b}]}
healthcheck: {env: [{name: A, value: b}]}
nouveau: {env: [{name: A, value: b}], args: [nouveau]}
couchdb: {env: [{name: A, value: b}], erlFlags: "+SDio 32", probes: {enabled: false}}
upgradeService: {env: [{name: A, value: b}]}
nginx: {env: [{name: A, value: b}], service: {annotations: {a: b}, type: NodePort, httpNodePort: 30080, httpsNodePort: 30443}}`)
	for _, name := range []string{"cht-api", "cht-haproxy", "cht-haproxy-healthcheck", "cht-couchdb", "upgrade-service", "cht-sentinel"} {
		d := named(t, r, &appsv1.Deployment{}, name)
		if last := d.Spec.Template.Spec.Containers[0].Env; last[len(last)-1].Name != "A" {
			t.Errorf("%s has environment %v", name, last)
		}
	}
	api := named(t, r, &appsv1.Deployment{}, "cht-api").Spec.Template
	c := api.Spec.Containers[0]
	if c.Args[0] != "api" || c.Command[0] != "run" || api.Annotations["a"] != "b" || api.Labels["l"] != "m" || api.Spec.Affinity == nil || len(api.Spec.TopologySpreadConstraints) != 1 || !hasEnv(c, "BUILDS_URL", "https://builds.example.org") {
		t.Errorf("the API's pod is %+v", api)
	}
	// None at all is Kubernetes' default of 30 s; the 0 of the CHT's own charts lets two
	// CouchDBs have one volume.
	if g := api.Spec.TerminationGracePeriodSeconds; g == nil || *g != 10 {
		t.Errorf("the API has %v s to end", g)
	}
	if s := named(t, r, &corev1.Service{}, "api"); s.Spec.Type != corev1.ServiceTypeNodePort {
		t.Errorf("the API's Service is %s", s.Spec.Type)
	}
	couch := named(t, r, &appsv1.Deployment{}, "cht-couchdb").Spec.Template.Spec
	if !hasEnv(couch.Containers[0], "ERL_FLAGS", "+SDio 32") || couch.Containers[0].LivenessProbe != nil || couch.Containers[0].ReadinessProbe != nil || couch.Containers[1].Args[0] != "nouveau" || couch.Containers[1].Env[0].Name != "A" {
		t.Errorf("CouchDB's pod is %+v", couch)
	}
	if d := named(t, renderCHT(t, ""), &appsv1.Deployment{}, "cht-couchdb"); !hasEnv(d.Spec.Template.Spec.Containers[0], "ERL_FLAGS", "+SDio 64") {
		t.Error("reads stop while a volume is frozen: ERL_FLAGS is not set by default")
	}
	r = renderCHT(t, "{ingress: {type: nginx, host: a.example.org}, nginx: {replicas: 2, env: [{name: A, value: b}], service: {annotations: {a: b}, type: NodePort, httpNodePort: 30080, httpsNodePort: 30443}, tls: {secretName: mine}}}")
	s, n := named(t, r, &corev1.Service{}, "nginx"), named(t, r, &appsv1.Deployment{}, "cht-nginx")
	if s.Spec.Ports[0].NodePort != 30080 || s.Spec.Ports[1].NodePort != 30443 || s.Annotations["a"] != "b" || *n.Spec.Replicas != 2 || n.Spec.Template.Spec.Volumes[1].Secret.SecretName != "mine" || n.Spec.Template.Spec.Containers[0].Env[0].Name != "A" {
		t.Errorf("nginx is %+v, %+v", s.Spec, n.Spec)
	}
	if r.Find("Secret", "cht-nginx-tls") != nil {
		t.Error("a certificate is made though one is given")
	}
	for _, off := range []string{"upgradeService: {enabled: false}", "nouveau: {enabled: false}"} {
		for _, o := range renderCHT(t, off).Objects {
			if strings.Contains(off, strings.ReplaceAll(o.GetName(), "-s", "S")) {
				t.Errorf("%s: %s %s is made", off, o.GetKind(), o.GetName())
			}
		}
	}
}

func hasEnv(c corev1.Container, name, value string) bool {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value == value
		}
	}
	return false
}

type labelMap map[string]string

func (l labelMap) Has(k string) bool              { _, ok := l[k]; return ok }
func (l labelMap) Get(k string) string            { return l[k] }
func (l labelMap) Lookup(k string) (string, bool) { v, ok := l[k]; return v, ok }

func labelsOf(service string) labelMap { return labelMap{"cht.service": service} }
