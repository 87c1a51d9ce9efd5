/** Debian packages that the embedded cluster stands on. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Failure } from "../../../lib/failure.ts";
import { run, succeeds } from "../../../lib/process.ts";
import { progress } from "../../../lib/progress.ts";

/**
 * Package name → a file that it brings, by which it is known to be there; several where another package brings the same
 * program elsewhere, as Docker's containerd.io has runc in /usr/bin.
 */
const packages: Record<string, string | string[]> = {
  buildah: "/usr/bin/buildah",
  "ca-certificates": "/usr/sbin/update-ca-certificates",
  conntrack: "/usr/sbin/conntrack",
  containerd: ["/usr/bin/containerd", "/usr/local/bin/containerd"],
  "containernetworking-plugins": "/usr/lib/cni/ptp",
  curl: "/usr/bin/curl",
  "docker-registry": "/usr/bin/docker-registry",
  git: "/usr/bin/git",
  haproxy: "/usr/sbin/haproxy",
  iproute2: "/usr/sbin/ip",
  // kube-router keeps the addresses of a policy's pods in sets.
  ipset: "/usr/sbin/ipset",
  iptables: "/usr/sbin/iptables",
  mmdebstrap: "/usr/bin/mmdebstrap",
  "python3-pip": "/usr/bin/pip3",
  runc: ["/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"],
  supervisor: "/usr/bin/supervisord",
  "util-linux": "/usr/bin/nsenter",
};

/** Packages whose service starts with the machine; here their programs run under the platform's supervisor. */
const daemons = ["containerd", "docker-registry", "haproxy", "supervisor"];

/** The packages whose file is not there. */
export const missingPackages = (exists: (path: string) => boolean = existsSync): string[] =>
  Object.entries(packages)
    .filter(([, files]) => ![files].flat().some(exists))
    .map(([name]) => name);

const apt = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];

/** How apt-get installs packages: where one conflicts with what is there, it fails and removes nothing. */
export const installArguments = (names: string[]): string[] => [
  ...apt,
  ...["install", "-y", "--no-install-recommends", "--no-remove"],
  ...names,
];

/**
 * Installs what is missing, without starting any daemon and without removing anything.
 * @throws Failure where apt is not there or fails
 */
export async function installPackages(): Promise<void> {
  const missing = missingPackages();
  if (missing.length === 0) return;
  if (!existsSync("/usr/bin/apt-get")) {
    throw new Failure(
      `missing programs and no apt-get to install them: ${missing.join(" ")}`,
      `use a machine with Debian (or bring these packages there: ${missing.join(" ")})`,
    );
  }
  progress(`installing ${missing.length} Debian packages`);
  const policy = "/usr/sbin/policy-rc.d";
  const ours = "#!/bin/sh\n# no daemon starts while logging-platform installs packages\nexit 101\n";
  // A killed run leaves our own file behind; anybody else's stays untouched.
  const keep = existsSync(policy) && readFileSync(policy, "utf8") !== ours;
  if (!keep) writeFileSync(policy, ours, { mode: 0o755 });
  try {
    const install = installArguments(missing);
    const env = { DEBIAN_FRONTEND: "noninteractive" };
    if (!(await succeeds("apt-get", install, { env, quiet: false }))) {
      await run("apt-get", [...apt, "update"], { env });
      await run("apt-get", install, { env });
    }
    // Enabled by their packages, they would take our ports at the next start of the machine.
    const units = daemons.filter((name) => missing.includes(name));
    await succeeds("systemctl", ["disable", ...units], { quiet: false });
  } finally {
    if (!keep) rmSync(policy, { force: true });
  }
}
