export function clientKind(): 'other' {
  return 'other';
}
