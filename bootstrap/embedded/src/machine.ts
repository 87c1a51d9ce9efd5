/** Facts about this machine on which generated configuration depends. */
import { existsSync, readFileSync } from "node:fs";

export interface Machine {
  cgroups: "v1" | "v2";
  /** True with CAP_SYS_RESOURCE. Without it nobody may lower an oom_score_adj. */
  canLowerOomScore: boolean;
}

const capSysResource = 24n;

/** True if the text of /proc/self/status has CAP_SYS_RESOURCE among the effective capabilities. */
export function hasSysResource(status: string): boolean {
  const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(status);
  return match?.[1] !== undefined && ((BigInt(`0x${match[1]}`) >> capSysResource) & 1n) === 1n;
}

/** Inspects the machine that this runs on. */
export function inspectMachine(): Machine {
  return {
    cgroups: existsSync("/sys/fs/cgroup/cgroup.controllers") ? "v2" : "v1",
    canLowerOomScore: hasSysResource(readFileSync("/proc/self/status", "utf8")),
  };
}

/**
 * The name servers that pods can use. A resolver on the host's loopback address cannot be reached from a pod.
 * @param texts resolv.conf files, best first
 */
export function upstreamResolvers(texts: string[]): string[] {
  for (const text of texts) {
    const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((m) => m[1] ?? "");
    const usable = servers.filter((s) => !s.startsWith("127.") && s !== "::1");
    if (usable.length > 0) return usable;
  }
  return [];
}
