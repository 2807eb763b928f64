// What a secret looks like: the patterns the redactor replaces, each linear in the text and named by what it finds.

export interface SecretPattern {
  /** Named in the marker and in confidence.reasons. */
  readonly kind: string;
  /** Whatever matches holds one of these (3 to 24 bytes of ASCII; lower case for flags `gi`): a text without them is not searched. */
  readonly literals: readonly string[];
  /** Regular expression source; a named group `keep` is left in place before the marker. */
  readonly source: string;
  /** Default `g`. */
  readonly flags?: 'g' | 'gi';
}

const QUERY_KEYS = ['key', 'api_key', 'apikey', 'api-key', 'access_token', 'token', 'sig', 'signature'];
const TOKEN_END = '(?![A-Za-z0-9_-])';

/**
 * Order matters: the first that matches at a place wins. Every quantifier runs over one character class that the next
 * part cannot start with, so no text makes the matcher go back.
 */
export const SECRET_PATTERNS: readonly SecretPattern[] = [
  { kind: 'private_key', literals: ['-----BEGIN '], source: '-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,40}PRIVATE KEY-----)?' },
  { kind: 'anthropic_key', literals: ['sk-ant-'], source: `sk-ant-[A-Za-z0-9_-]{16,}${TOKEN_END}` },
  { kind: 'api_key', literals: ['sk-'], source: `(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}${TOKEN_END}` },
  { kind: 'google_key', literals: ['AIza'], source: 'AIza[0-9A-Za-z_-]{35}' },
  { kind: 'aws_key_id', literals: ['AKIA', 'ASIA'], source: '(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Z0-9])' },
  {
    kind: 'github_token',
    literals: ['ghp_', 'gho_', 'ghu_', 'ghs_', 'ghr_', 'github_pat_'],
    source: '(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})',
  },
  { kind: 'gitlab_token', literals: ['glpat-'], source: 'glpat-[A-Za-z0-9_-]{20,}' },
  { kind: 'slack_token', literals: ['xoxa-', 'xoxb-', 'xoxe-', 'xoxp-', 'xoxr-', 'xoxs-'], source: 'xox[abeprs]-[A-Za-z0-9-]{10,}' },
  { kind: 'huggingface_token', literals: ['hf_'], source: '(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}' },
  {
    kind: 'api_key',
    literals: ['gsk_', 'xai-', 'pplx-', 'r8_', 'npm_', 'csk-', 'nvapi-'],
    source: '(?<![A-Za-z0-9])(?:gsk_|xai-|pplx-|r8_|npm_|csk-|nvapi-)[A-Za-z0-9_-]{20,}',
  },
  { kind: 'jwt', literals: ['eyJ'], source: 'eyJ[A-Za-z0-9_-]{8,}\\.eyJ[A-Za-z0-9_-]{8,}\\.[A-Za-z0-9_-]{8,}' },
  {
    kind: 'header',
    literals: ['authorization', 'api-key'],
    source:
      '(?<keep>(?<![a-z0-9])(?:(?:proxy-)?authorization|x-api-key|api-key|x-goog-api-key)["\']?[ ]{0,4}[:=][ ]{0,4}["\']?(?:(?:bearer|basic|token|apikey)[ ]{1,4})?)(?!\\[REDACTED)[^\\s"\'\\\\,;]{8,}',
    flags: 'gi',
  },
  {
    kind: 'cookie',
    literals: ['cookie'],
    source:
      '(?<keep>(?<![a-z0-9])(?:set-)?cookie["\']?[ ]{0,4}[:=][ ]{0,4}["\']?)(?!\\[REDACTED)(?:[^\\s=;"\'\\\\]{1,128}=[^;\\r\\n"\'\\\\]{0,8192};?[ ]?){1,256}',
    flags: 'gi',
  },
  { kind: 'bearer', literals: ['earer '], source: '(?<keep>(?<![A-Za-z0-9])[Bb]earer[ ]{1,4})(?!\\[REDACTED)[A-Za-z0-9._~+/=-]{12,}' },
  { kind: 'basic', literals: ['Basic '], source: '(?<keep>(?<![A-Za-z0-9])Basic[ ]{1,4})(?!\\[REDACTED)[A-Za-z0-9+/=]{12,}' },
  { kind: 'url_password', literals: ['://'], source: '(?<keep>[a-z]://[^\\s/:@"\']{1,200}:)(?!\\[REDACTED)[^\\s/@"\']{1,200}(?=@)' },
  {
    kind: 'query',
    literals: ['?', '&'].flatMap((mark) => QUERY_KEYS.map((key) => `${mark}${key}=`)),
    source: `(?<keep>[?&](?:${QUERY_KEYS.join('|')})=)(?!\\[REDACTED)[^&\\s"'#]{8,}`,
  },
  {
    kind: 'assignment',
    literals: ['API_KEY', 'APIKEY', 'api_key', 'SECRET', 'PASSWORD', 'PASSWD', 'password', '_TOKEN'],
    source:
      '(?<keep>(?:API_KEY|APIKEY|api_key|SECRET|PASSWORD|PASSWD|password|ACCESS_TOKEN|AUTH_TOKEN|_TOKEN)["\']?[ ]{0,2}[=:][ ]{0,2}["\']?)(?!\\[REDACTED)[^\\s"\'\\\\&;,)}\\]]{8,}',
  },
];
