/** The cluster: its nodes, its pods, and what they ask for against what they use. */
import { type Dashboard, figure, graph } from "./description.ts";

const used = "max by (namespace, pod, container)";
const workingSet = `${used} (container_memory_working_set_bytes{container!="", container!="POD"})`;
const limits = `${used} (kube_pod_container_resource_limits{resource="memory"})`;
const overall = (name: string): string =>
  `sum by (node) (kube_pod_container_resource_requests{resource="${name}"}) / max by (node) (kube_node_status_allocatable{resource="${name}"})`;

export const cluster: Dashboard = {
  name: "cluster",
  title: "Cluster",
  rows: [
    {
      panels: [
        figure(
          "Nodes ready",
          "Nodes whose kubelet says that they are",
          "none",
          'sum(max by (node) (kube_node_status_condition{condition="Ready", status="true"}))',
        ),
        figure(
          "Pods running",
          "In all namespaces",
          "none",
          'sum(max by (namespace, pod) (kube_pod_status_phase{phase="Running"}))',
        ),
        figure(
          "Pods not ready",
          "Those left out that have done their work",
          "none",
          'count(kube_pod_status_ready{condition="false"} == 1 unless on (namespace, pod) kube_pod_status_phase{phase="Succeeded"} == 1) or vector(0)',
        ),
        figure(
          "Restarts",
          "Of containers, within an hour",
          "none",
          "sum(increase(kube_pod_container_status_restarts_total[1h]))",
        ),
        figure(
          "Failed Jobs",
          "That are still there",
          "none",
          "count(kube_job_status_failed > 0) or vector(0)",
        ),
        figure(
          "Claims not bound",
          "Volumes that somebody waits for",
          "none",
          'count(kube_persistentvolumeclaim_status_phase{phase!="Bound"} == 1) or vector(0)',
        ),
      ],
    },
    {
      title: "Nodes",
      panels: [
        graph("CPU", "In use", "percentunit", {
          "{{instance}}":
            '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))',
        }),
        graph("Memory", "In use", "percentunit", {
          "{{instance}}": "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
        }),
        graph("Disk", "In use", "percentunit", {
          "{{instance}}":
            '1 - node_filesystem_avail_bytes{mountpoint="/", fstype!="tmpfs"} / node_filesystem_size_bytes{mountpoint="/", fstype!="tmpfs"}',
        }),
      ],
    },
    {
      title: "Pods",
      panels: [
        graph("Running", "By namespace", "none", {
          "{{namespace}}":
            'sum by (namespace) (max by (namespace, pod) (kube_pod_status_phase{phase="Running"}))',
        }),
        graph("Not ready", "By namespace", "none", {
          "{{namespace}}":
            'sum by (namespace) (kube_pod_status_ready{condition="false"} unless on (namespace, pod) kube_pod_status_phase{phase="Succeeded"} == 1)',
        }),
        graph("Restarts", "Within 10 minutes, by namespace", "none", {
          "{{namespace}}": "sum by (namespace) (increase(kube_pod_container_status_restarts_total[10m]))",
        }),
      ],
    },
    {
      title: "What they use, ask for and may have",
      panels: [
        graph("Memory", "Working set, by namespace", "bytes", {
          "{{namespace}}": `sum by (namespace) (${workingSet})`,
        }),
        graph("CPU", "Cores, by namespace", "none", {
          "{{namespace}}":
            'sum by (namespace) (rate(container_cpu_usage_seconds_total{container!="", container!="POD"}[$__rate_interval]))',
        }),
        graph(
          "Nearest to their limit",
          "Memory of the five containers that have the least room",
          "percentunit",
          {
            "{{pod}} {{container}}": `topk(5, ${workingSet} / ${limits})`,
          },
        ),
        graph("Asked of the nodes", "Requests against what a node can give", "percentunit", {
          "memory {{node}}": overall("memory"),
          "CPU {{node}}": overall("cpu"),
        }),
        graph("Memory asked for", "By namespace", "bytes", {
          "{{namespace}}": 'sum by (namespace) (kube_pod_container_resource_requests{resource="memory"})',
        }),
        graph("Memory limits", "By namespace", "bytes", {
          "{{namespace}}": 'sum by (namespace) (kube_pod_container_resource_limits{resource="memory"})',
        }),
      ],
    },
    {
      title: "API server",
      panels: [
        graph("Requests", "By verb", "reqps", {
          "{{verb}}": "sum by (verb) (rate(apiserver_request_total[$__rate_interval]))",
        }),
        graph("Failed", "Share of 5xx", "percentunit", {
          failed:
            '(sum(rate(apiserver_request_total{code=~"5.."}[5m])) or vector(0)) / sum(rate(apiserver_request_total[5m]))',
        }),
        graph("At work", "Requests that are being answered", "none", {
          "{{request_kind}}": "sum by (request_kind) (apiserver_current_inflight_requests)",
        }),
      ],
    },
  ],
};
