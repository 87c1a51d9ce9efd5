/** Which pods stand behind a headless Service, from the API server. */
import { existsSync, readFileSync } from "node:fs";
import { Failure } from "./failure.ts";

/** Where the API server is, and how to authenticate to it. */
export interface Cluster {
  api: string;
  /** A file with a bearer token; it is read anew each time, because tokens are renewed. */
  tokenFile: string;
  /** A pod's name in DNS, with {ip}, {dashed}, {service} and {namespace}. */
  podHost: string;
}

/** A pod that answers requests, or should do so. */
export interface Source {
  pod: string;
  uid: string;
  /** The node's name, if the API server knows it. */
  node: string | undefined;
  url: string;
  /** False while the pod starts or stops: it may be unable to answer. */
  serving: boolean;
}

interface EndpointSlice {
  ports?: { name?: string; port?: number }[];
  endpoints?: {
    addresses: string[];
    nodeName?: string;
    conditions?: { ready?: boolean | null; serving?: boolean | null };
    targetRef?: { kind?: string; name?: string; uid?: string };
  }[];
}

/**
 * The pods behind a headless Service and the address of each one's port `http`.
 * @throws Failure if the API server does not answer, or knows no such Service
 */
export async function sourcesOf(cluster: Cluster, namespace: string, service: string): Promise<Source[]> {
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  const url = `${cluster.api}${path}?labelSelector=kubernetes.io/service-name%3D${service}`;
  const next = `kubectl --namespace ${namespace} get endpointslices`;
  const token = existsSync(cluster.tokenFile) ? readFileSync(cluster.tokenFile, "utf8").trim() : undefined;
  const headers: Record<string, string> = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(30_000) }).catch((cause) => {
    throw new Failure(`the API server did not answer which pods are behind ${namespace}/${service}`, {
      cause,
      next,
    });
  });
  const body = await answer.text();
  if (!answer.ok)
    throw new Failure(`the API server answers ${answer.status} for the pods of ${namespace}/${service}`, {
      cause: body,
      next,
    });
  const slices = (JSON.parse(body) as { items: EndpointSlice[] }).items;
  if (slices.length === 0) throw new Failure(`no Service named ${namespace}/${service}`, { next });
  const found = new Map<string, Source>();
  for (const { ports = [], endpoints } of slices) {
    const port = ports.find(({ name }) => name === "http")?.port;
    for (const { addresses, conditions = {}, nodeName, targetRef } of endpoints ?? []) {
      const [ip] = addresses;
      if (!ip || !port || targetRef?.kind !== "Pod" || !targetRef.name || !targetRef.uid) continue;
      const host = cluster.podHost
        .replaceAll("{ip}", ip)
        .replaceAll("{dashed}", ip.replaceAll(/[.:]/g, "-"))
        .replaceAll("{service}", service)
        .replaceAll("{namespace}", namespace);
      const serving = (conditions.serving ?? conditions.ready) !== false;
      found.set(targetRef.uid, {
        pod: targetRef.name,
        uid: targetRef.uid,
        node: nodeName,
        url: `http://${host}:${port}`,
        serving,
      });
    }
  }
  return [...found.values()].sort((a, b) => a.pod.localeCompare(b.pod));
}
