// The one function a module may ask of its host; the file's name is the name of the import module ("env"), so nothing else may be declared here.

/** Hands a line of UTF-8 text to the host's log, which limits the rate. Never called with captured bytes. */
export declare function log(at: usize, length: usize): void;
