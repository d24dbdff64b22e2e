/** The files of a host, read only. Paths are absolute and as the host itself sees them. */
export interface HostFiles {
  /**
   * @returns undefined when there is no such file.
   * @throws DamselflyError `client-config-unusable` when it is there and cannot be read, or is no text file.
   */
  read(path: string): string | undefined;
  /** Names in a folder, sorted; none when there is no such folder. */
  list(folder: string): readonly string[];
}
