//! Names that a file has no honest use for beside its weights: they run code, reach files or the network, or open the way to
//! what does. They are refused even where `--skip-objects` names them, although nothing would be run then either: who
//! reads on past such a name is not looking at a file of weights.
//!
//! The list is wide on purpose, since refusing costs nothing: all of Python's standard library but what
//! [`super::harmless`] has, other packages known to run or load things, and every path through one of those.

/// Whether `module.name` is refused whatever was asked for.
pub(super) fn is_malicious(module: &str, name: &str) -> bool {
    let (module, name) = (module.to_lowercase(), name.to_lowercase());
    let package = module.split('.').next().unwrap_or_default();
    let segments = || module.split('.').chain(name.split('.'));
    let plain = |segment: &str| {
        !segment.is_empty() && segment.chars().all(|character| character.is_alphanumeric() || character == '_')
    };
    (listed(STANDARD_LIBRARY, package) && !SIMPLE.contains(&(module.as_str(), name.as_str())))
        || listed(PACKAGES, package)
        || (matches!(package, "torch" | "numpy") && !may_be_data(&module, &name))
        // What a module of anyone's imports can be reached through it: `module.os.system`.
        || segments().any(|segment| listed(WORDS, segment.trim_matches('_')))
        || segments().skip(1).any(|segment| segment.starts_with("__") || listed(REACHED, segment.trim_matches('_')))
        || !segments().all(plain)
}

fn listed(words: &str, word: &str) -> bool {
    words.split_ascii_whitespace().any(|listed| listed == word)
}

/// Classes of the standard library that are plain data, for whoever asks for them by name; in small letters.
const SIMPLE: [(&str, &str); 2] = [("types", "simplenamespace"), ("enum", "enum")];

/// Of torch and numpy: the classes that a script may store beside the weights, such as a loss, an optimizer, a
/// scheduler or a gradient scaler. Names are in small letters.
fn may_be_data(module: &str, name: &str) -> bool {
    const MODULES: [&str; 8] = [
        "torch.nn.",
        "torch.optim.",
        "torch.cuda.amp.grad_scaler.",
        "torch.amp.grad_scaler.",
        "torch.ao.quantization.",
        "torch.quantization.",
        "numpy.ma.core.",
        "numpy.matrixlib.defmatrix.",
    ];
    let module = format!("{module}.");
    MODULES.iter().any(|start| module.starts_with(start)) && !name.contains('.')
}

/// Names that mean harm wherever they stand in a path.
const WORDS: &str = "
    builtin builtins ctypes eval exec execfile getattr globals import
    importlib marshal os pickle popen posix pty runpy setattr shutil socket subprocess sys system webbrowser";

/// Names that mean harm as an attribute of any module.
const REACHED: &str = "
    attrgetter call check_output codetype compile functiontype getoutput import_module itemgetter loads methodcaller
    open partial reload run_code run_module run_path spawn spawnl spawnv startfile";

/// Top-level packages of Python 2.7 to 3.14, in small letters.
const STANDARD_LIBRARY: &str = "
    __builtin__ __future__ _abc _aix_support _ast _asyncio _bisect _blake2 _bootsubprocess _bz2 _codecs _codecs_cn
    _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _collections _collections_abc _compat_pickle
    _compression _contextvars _crypt _csv _ctypes _curses _curses_panel _datetime _dbm _decimal _dummy_thread
    _dummy_threading _elementtree _frozen_importlib _frozen_importlib_external _functools _gdbm _hashlib _heapq _imp
    _io _json _locale _lsprof _lzma _markupbase _md5 _msi _multibytecodec _multiprocessing _opcode _operator
    _osx_support _overlapped _pickle _posixshmem _posixsubprocess _py_abc _pydecimal _pyio _pyrepl _queue _random
    _remote_debugging _scproxy _sha1 _sha256 _sha3 _sha512 _signal _sitebuiltins _socket _sqlite3 _sre _ssl _stat
    _statistics _string _strptime _struct _symtable _thread _threading_local _tkinter _tokenize _tracemalloc _typing
    _uuid _warnings _weakref _weakrefset _winapi _winreg _zoneinfo abc aifc annotationlib antigravity anydbm
    argparse array ast asynchat asyncio asyncore atexit audiodev audioop base64 basehttpserver bastion bdb binascii
    binhex bisect bsddb builtins bz2 calendar cgi cgihttpserver cgitb cmath cmd code codecs codeop collections
    colorsys commands compileall compiler compression concurrent configparser contextlib contextvars cookie
    cookielib copy copy_reg copyreg cpickle cprofile crypt cstringio csv ctypes curses dataclasses datetime dbhash
    dbm decimal difflib dis distutils dl doctest docxmlrpcserver dumbdb dummy_thread dummy_threading email encodings
    ensurepip enum errno exceptions faulthandler fcntl filecmp fileinput fnmatch fpformat fractions ftplib functools
    gc gdbm genericpath getopt getpass gettext glob graphlib grp gzip hashlib heapq hmac hotshot html htmlentitydefs
    htmllib htmlparser http httplib idlelib ihooks imageop imaplib imghdr imp importlib imputil inspect io ipaddress
    itertools json keyword lib2to3 linecache linuxaudiodev locale logging lzma mailbox mailcap marshal math md5
    mhlib mimetools mimetypes mimewriter mmap modulefinder msilib msvcrt multifile multiprocessing netrc nis nntplib
    nt ntpath nturl2path numbers opcode operator optparse os os2 ossaudiodev pathlib pdb pickle pickletools pipes
    pkgutil platform plistlib popen2 poplib posix posixfile posixpath pprint profile pstats pty pwd py_compile
    pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource rexec rfc822 rgbimg rlcompleter
    robotparser runpy sched secrets select selectors sgmllib sha shelve shlex shutil signal simplehttpserver
    simplexmlrpcserver site smtpd smtplib sndhdr socket socketserver spwd sqlite3 sre sre_compile sre_constants
    sre_parse ssl stat statistics statvfs string stringio stringprep struct subprocess sunau symtable sys sysconfig
    syslog tabnanny tarfile telnetlib tempfile termios test textwrap this thread threading time timeit tkinter
    tkmessagebox toaiff token tokenize tomllib trace traceback tracemalloc tty turtle turtledemo types typing
    unicodedata unittest urllib urllib2 urlparse userdict userlist usermodule userstring uu uuid venv warnings wave
    weakref webbrowser whichdb winreg winsound wsgiref xdrlib xml xmlrpc xmlrpclib zipapp zipfile zipimport zlib
    zoneinfo";

/// Other packages that run what they are told, or that load pickles, files or addresses.
const PACKAGES: &str = "
    _distutils_hack aiohttp boto boto3 botocore bs4 celery cffi cloudpickle cupy cython cython_inline dask dill
    distributed django docker execnet fabric flask fsspec gdown gevent git google gradio httpx huggingface_hub
    hypothesis invoke ipykernel ipython jax jaxlib jinja2 joblib jsonpickle jupyter_client kagglehub keras mako
    mlflow nbconvert nose notebook numba numexpr pandas papermill paramiko pexpect pip pkg_resources plumbum psutil
    ptyprocess py pyautogui pyro4 pyro5 pytest pythoncom pywintypes pyximport ray requests rpyc ruamel s3fs scapy
    scipy setuptools sh sklearn sqlalchemy streamlit sympy tensorflow theano torchaudio torchtext tornado twisted
    urllib3 virtualenv wandb wheel win32api win32com yaml zmq";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_code_or_leads_to_it_is_malicious() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "popen"),
            ("nt", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("__builtin__", "apply"),
            ("__builtin__", "getattr"),
            ("sys", "modules"),
            ("importlib", "import_module"),
            ("runpy", "_run_code"),
            ("types", "FunctionType"),
            ("operator", "attrgetter"),
            ("_operator", "methodcaller"),
            ("functools", "partial"),
            ("torch.hub", "load"),
            ("torch", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.serialization", "os.system"),
            ("torch.nn.modules.linear", "torch.hub.load"),
            ("torch.utils.collect_env", "run"),
            ("numpy.testing._private.utils", "runstring"),
            ("numpy.f2py.crackfortran", "myeval"),
            ("numpy", "load"),
            ("pathlib", "os.system"),
            ("mylib", "os.system"),
            ("mylib.os", "system"),
            ("mylib", "Config.__init__.__globals__"),
            ("__main__", "__builtins__.eval"),
            ("OS", "system"),
            ("os ", "system"),
            ("pip._internal", "main"),
            ("cloudpickle.cloudpickle", "_make_function"),
            ("dill._dill", "_create_function"),
            ("timeit", "timeit"),
            ("", "system"),
            ("antigravity", "x"),
            ("mylib", ""),
        ] {
            assert!(is_malicious(module, name), "{module}.{name}");
        }
    }

    #[test]
    fn the_classes_of_scripts_and_of_torchs_training_are_not() {
        for (module, name) in [
            ("__main__", "Config"),
            ("mylib.config", "TrainArgs"),
            ("utils.meters", "AverageMeter"),
            ("models.resnext", "Config.Inner"),
            ("torch.nn.modules.loss", "CrossEntropyLoss"),
            ("torch.optim.lr_scheduler", "MultiStepLR"),
            ("types", "SimpleNamespace"),
        ] {
            assert!(!is_malicious(module, name), "{module}.{name}");
        }
    }
}
