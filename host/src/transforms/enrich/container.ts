// Reads a container id out of a cgroup path; it knows the forms that Docker, containerd, CRI-O and Podman write.

const SCOPED = /(?:docker|cri-containerd|crio|libpod)-([0-9a-f]{64})(?:\.scope)?(?:\/|$)/;
const PLAIN = /(?:^|\/)([0-9a-f]{64})(?:\/|$)/;

/** @returns the 64 hex digits of the id, or undefined for a process in no container. */
export function containerId(cgroup: string): string | undefined {
  return SCOPED.exec(cgroup)?.[1] ?? PLAIN.exec(cgroup)?.[1];
}
